"""Every setting: its name, its type, its default beside it, and how it is shown.

The YAML names are the contract's. In Python a name ends in its unit (`ttl_seconds`,
`size_limit_bytes`, `usd_micros`), which the YAML leaves out. All values are typed here, so
that nobody else parses; what involves more than one setting is checked in `rules`. A default
stands here and nowhere else. What a running gateway takes over is `Reloadable`: the policy, what
is looked up order by order, and the upstreams, which are connected anew. The rest has become
folders, sockets or tasks by the time of a reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr

from gateway.config import store_words, units, words
from gateway.config.part import Part
from gateway.config.upstream_entry import UpstreamEntry
from gateway.core.addresses import is_loopback
from gateway.core.buckets import BucketPlace, read_place
from gateway.core.catalog import CacheScope, ClientControl, Mode, ReferenceMode
from gateway.core.orders import spellings

RELOADABLE: Final = "reloadable"
T = TypeVar("T")
Reloadable = Annotated[T, RELOADABLE]
"""A setting, or a whole section, whose change needs no restart."""


def _price_list(value: object) -> object:
    """A bare amount is a list of one rule that fits every order."""
    if isinstance(value, list | tuple):
        return value
    units.usd_micros(value)  # a wrong amount is told here, at the price itself
    return [{"usd": value}]


class Log(Part):
    format: words.Format = words.LogFormat.AUTO  # auto: console on a terminal, else json
    level: words.Level = words.LogLevel.INFO
    prompts: Reloadable[words.Flag] = False


class AdminKey(Part):
    """An operator's key. Without a name its operator is known by the start of the digest."""

    name: words.Operator | None = None
    sha256: words.Sha256


def _admin_key(value: object) -> object:
    """A bare digest is a key without a name."""
    if isinstance(value, AdminKey | Mapping):
        return value
    words.digest(value)  # a wrong digest is told here, at the key itself
    return {"sha256": value}


def _show_admin_key(key: AdminKey) -> object:
    shown = words.show_digest(key.sha256)
    return shown if key.name is None else {"name": key.name, "sha256": shown}


OneAdminKey = Annotated[AdminKey, BeforeValidator(_admin_key), PlainSerializer(_show_admin_key)]


class ServerSettings(Part):
    host: words.Text = "127.0.0.1"
    port: Annotated[int, units.an_int(0, 65535)] = 8080
    public_url: Reloadable[words.Address | None] = None
    admin_keys: Reloadable[tuple[OneAdminKey, ...]] = Field(default=(), repr=False)
    metrics_keys: Reloadable[tuple[words.KeyDigest, ...]] = Field(default=(), repr=False)
    timezone: Reloadable[words.TimeZone] = "UTC"
    log: Log = Log()
    body_limit_bytes: Reloadable[units.BodyBytes] = 1_048_576
    upload_limit_bytes: Reloadable[units.UploadBytes] = 100_000_000
    uploads_per_team_bytes: Reloadable[units.TeamBytes] = 10_000_000_000
    openai_wait_seconds: Reloadable[units.Seconds] = 290.0
    openai_sdk_on_v1: Reloadable[words.Flag] = False
    cors_origins: Reloadable[tuple[words.Origin, ...]] = ()
    hand_over: words.Handing = words.HandOver.NONE
    max_waiters: Reloadable[Annotated[int, units.an_int(0, 1_000_000)]] = 10_000
    drain_seconds: units.SecondsOrNone = 0.0
    shutdown_grace_seconds: units.Seconds = 30.0

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Whether nobody beyond this machine is meant to reach the gateway."""
        public = urlsplit(self.public_url).hostname if self.public_url else self.host
        return is_loopback(public or "")

    def links_base(self, port: int) -> str:
        """The base of permanent links when `port` is served; no slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{port}"


class Retention(Part):
    jobs_seconds: units.WholeDays = 400 * 86_400.0
    idempotency_keys_seconds: units.WholeDays = 7 * 86_400.0
    refusals_seconds: units.WholeDays = 30 * 86_400.0


class PostgresSettings(Part):
    """What a ledger in PostgreSQL needs to know besides its address."""

    pooler: words.Flag = False
    direct: store_words.DatabaseOrNone = (
        None  # None: the ledger's own address, or no way past the pooler
    )


class S3Settings(Part):
    """How pictures in a bucket reach clients."""

    serve: store_words.Serving = store_words.Serve.STREAM
    cdn: words.AddressOrNone = None  # None: redirects lead to the bucket itself


class Storage(Part):
    data_dir: words.Folder = "./data"
    ledger: store_words.LedgerPlace = SecretStr(store_words.SQLITE)
    postgres: PostgresSettings = PostgresSettings()
    pictures: store_words.PicturesPlace = store_words.FOLDER
    s3: S3Settings = S3Settings()
    free_space_floor_bytes: Reloadable[units.BytesOrNone] = 1_000_000_000
    picture_limit_bytes: Reloadable[units.Bytes] = 64_000_000
    retention: Reloadable[Retention] = Retention()

    @property
    def postgres_url(self) -> str | None:
        """The address of the ledger's database; None for SQLite."""
        place = self.ledger.get_secret_value()
        return None if place == store_words.SQLITE else place

    @property
    def bucket(self) -> BucketPlace | None:
        """Where in which bucket the pictures are; None for a folder."""
        return None if self.pictures == store_words.FOLDER else read_place(self.pictures)


class PriceEntry(Part):
    """US dollars per picture for orders whose named fields have these values."""

    size: words.Size | None = None
    quality: words.Text | None = None
    resolution: words.Text | None = None
    usd_micros: units.Price

    @property
    def match(self) -> tuple[tuple[str, str], ...]:
        named = (("size", self.size), ("quality", self.quality), ("resolution", self.resolution))
        return tuple((field, value) for field, value in named if value is not None)


class RatesEntry(Part):
    """What tokens cost: US dollars for a million of them."""

    text_in: units.Rate
    image_in: units.Rate
    image_out: units.Rate
    text_out: units.Rate = 0.0
    reference_tokens: Annotated[int, units.an_int(0, 1_000_000)] = 6_500


class RouteEntry(Part):
    """`rates` are of an upstream that counts tokens; without them those that are known of its model
    are filled in. `another_model` is the operator's word on whether what the route makes is by
    another model than the public name says, where the names do not tell."""

    upstream: words.Name
    model: words.Name
    price: Annotated[tuple[PriceEntry, ...], BeforeValidator(_price_list)]
    rates: RatesEntry | None = None
    another_model: words.Flag | None = None


MOST_PICTURES: Final = 10
"""Of one order: more than that upstream does not make."""

LISTS: Final = {"size": "sizes", "quality": "qualities", "resolution": "resolutions"}
"""What the list is called here that has the values of a field of an order."""


class ModelLimits(Part):
    """What the model accepts; None means that upstream judges.

    An order's value of a field without a list is priced at the dearest that it may mean.
    """

    prompt_tokens: units.Count | None = None
    prompt_characters: units.Count | None = None
    max_n: Annotated[int, units.an_int(1, MOST_PICTURES)] = MOST_PICTURES
    max_image_urls: Annotated[int, units.an_int(0, 16)] = 16
    sizes: tuple[words.Size, ...] | None = None
    qualities: tuple[words.Text, ...] | None = None
    resolutions: tuple[words.Text, ...] | None = None

    @property
    def lists(self) -> Mapping[str, tuple[str, ...] | None]:
        """By the name of the field in an order."""
        return {"size": self.sizes, "quality": self.qualities, "resolution": self.resolutions}


class ModelEntry(Part):
    aliases: tuple[words.Name, ...] = ()
    limits: ModelLimits = ModelLimits()
    size_aliases: dict[words.Text, words.Size] = Field(default={})
    defaults: dict[str, words.FreeValue] = Field(default={})
    deadline_seconds: units.Seconds = 900.0
    routes: tuple[RouteEntry, ...]

    @property
    def sizes_by_alias(self) -> Mapping[str, str]:
        return {spellings.size(one).casefold(): size for one, size in self.size_aliases.items()}

    def sizes_meant(self, sizes: Iterable[str]) -> frozenset[str]:
        """These sizes, each by the one name that the model has for it."""
        known = self.sizes_by_alias
        return frozenset(known.get(size.casefold(), size) for size in sizes)

    def names(self, field: str) -> tuple[str, ...] | None:
        """What an order may say in this field, under whatever name; None: upstream judges."""
        listed = self.limits.lists.get(field)
        if listed is None or field != "size":
            return listed
        return *listed, *(spellings.size(one) for one in self.size_aliases)


class Cache(Part):
    ttl_seconds: Reloadable[units.Days] = 30 * 86_400.0
    size_limit_bytes: units.BytesOrNone = 1_000_000_000
    scope: Reloadable[words.Scope] = CacheScope.TEAM
    client_control: Reloadable[words.Control] = ClientControl.HONOUR
    remember_lost_seconds: Reloadable[units.SecondsOrNone] = 900.0


class CallbackSettings(Part):
    timeout_seconds: Reloadable[units.Seconds] = 10.0
    retries: Reloadable[tuple[units.Seconds, ...]] = (1.0, 2.0, 4.0)
    signing_secret: Reloadable[words.SecretOrNone] = None
    allow_private_addresses: Reloadable[words.Flag] = False
    proxy: Reloadable[words.Proxy] = None
    concurrency: Annotated[int, units.an_int(1, 1_000)] = 16


class Alerts(Part):
    """Told of teams that come near a limit; None: nobody is."""

    webhook: words.Webhook = None
    thresholds: tuple[units.Percent, ...] = (80, 100)
    signing_secret: words.SecretOrNone = None
    allow_private_addresses: words.Flag = False
    proxy: words.Proxy = None


class ReferenceLinks(Part):
    """How the gateway itself fetches what teams' links to reference pictures name."""

    allow_private_addresses: words.Flag = False
    proxy: words.Proxy = None


class RetrySettings(Part):
    first_seconds: units.Seconds = 1.0
    max_seconds: units.Seconds = 30.0
    dead_after_seconds: units.Seconds = 3600.0


class WorkerSettings(Part):
    concurrency: Annotated[int, units.an_int(1, 10_000)] = 64
    downloads: Annotated[int, units.an_int(1, 1_000)] = 16
    retry: Reloadable[RetrySettings] = RetrySettings()


class Budget(Part):
    usd_micros: units.MoneyAboveZero
    per: words.Per


class ImageCount(Part):
    count: units.Count
    per: words.Per


class TeamLimits(Part):
    images: tuple[ImageCount, ...] = ()
    runs_per_minute: units.Count | None = None
    concurrent_runs: units.Count | None = None


class TeamAllow(Part):
    """What the team may ask for; None means anything that the models offer."""

    models: tuple[words.Name, ...] | None = None
    sizes: tuple[words.Size, ...] | None = None
    qualities: tuple[words.Text, ...] | None = None
    max_n: Annotated[int, units.an_int(1, MOST_PICTURES)] | None = None

    @property
    def lists(self) -> Mapping[str, tuple[str, ...] | None]:
        """By the name of the field in an order."""
        return {"size": self.sizes, "quality": self.qualities}


class TeamCache(Part):
    scope: words.Scope | None = None  # None: the scope of the `cache` section
    client_control: words.Control | None = None  # None: that of the `cache` section


class TeamEntry(Part):
    description: words.Description | None = None
    keys: tuple[words.KeyDigest, ...] = Field(default=(), repr=False)
    budgets: tuple[Budget, ...] = ()
    limits: TeamLimits = TeamLimits()
    allow: TeamAllow = TeamAllow()
    defaults: dict[str, words.FreeValue] = Field(default={})
    cache: TeamCache = TeamCache()
    mode: words.TeamMode = Mode.ENFORCE
    references: words.References = ReferenceMode.TRUST


class Settings(Part):
    """All settings, typed and checked; `load`, `parse` and `sandbox_settings` make them."""

    server: ServerSettings = ServerSettings()
    storage: Storage = Storage()
    upstreams: Reloadable[dict[words.Name, UpstreamEntry]] = Field(default={})
    models: Reloadable[dict[words.Name, ModelEntry]] = Field(default={})
    cache: Cache = Cache()
    callbacks: CallbackSettings = CallbackSettings()
    alerts: Reloadable[Alerts] = Alerts()
    references: Reloadable[ReferenceLinks] = ReferenceLinks()
    worker: WorkerSettings = WorkerSettings()
    teams: Reloadable[dict[words.Name, TeamEntry]] = Field(default={})

    def shown(self) -> Mapping[str, object]:
        """The effective settings by their YAML names, secrets masked, digests shortened."""
        return self.model_dump(by_alias=True, exclude_none=True)
