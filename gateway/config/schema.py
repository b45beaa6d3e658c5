"""Every setting: its name, its type, its default beside it, and how it is shown.

The YAML names are the contract's. In Python a name ends in its unit (`ttl_seconds`,
`size_limit_bytes`, `usd_micros`), which the YAML leaves out. All values are typed here, so
that nobody else parses; what involves more than one setting is checked in `rules`. A default
stands here and nowhere else. What a running gateway takes over is `Reloadable`: the policy, what
is looked up order by order, and the upstreams, which are connected anew. The rest has become
folders, sockets or tasks by the time of a reload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway import __version__
from gateway.config.units import (
    BodyBytes,
    Bytes,
    BytesOrNone,
    Count,
    Days,
    MoneyAboveZero,
    Percent,
    Price,
    Seconds,
    SecondsOrNone,
    UploadBytes,
    WholeDays,
    an_int,
    usd_micros,
)
from gateway.config.words import (
    Address,
    BaseAddress,
    Control,
    Description,
    Flag,
    Format,
    FreeValue,
    HeaderLine,
    KeyDigest,
    LedgerPlace,
    Level,
    LogFormat,
    LogLevel,
    Name,
    Origin,
    Per,
    PicturesPlace,
    Proxy,
    References,
    Scope,
    Secret,
    SecretOrNone,
    Size,
    TeamMode,
    Text,
    TimeZone,
    Webhook,
)
from gateway.core.addresses import is_loopback
from gateway.core.catalog import CacheScope, ClientControl, Mode, ReferenceMode

UNITS = re.compile("_seconds$|_bytes$|_micros")
RELOADABLE: Final = "reloadable"
T = TypeVar("T")
Reloadable = Annotated[T, RELOADABLE]
"""A setting, or a whole section, whose change needs no restart."""


def yaml_name(name: str) -> str:
    """`ttl_seconds` is `ttl` in the file, `usd_micros` is `usd`."""
    return UNITS.sub("", name)


def _price_list(value: object) -> object:
    """A bare amount is a list of one rule that fits every order."""
    if isinstance(value, list | tuple):
        return value
    usd_micros(value)  # a wrong amount is told here, at the price itself
    return [{"usd": value}]


class Part(BaseModel):
    """A mapping in the file: unknown keys refused, values frozen, inputs never in messages."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, alias_generator=yaml_name
    )


class Log(Part):
    format: Format = LogFormat.AUTO  # auto: console on a terminal, else json
    level: Level = LogLevel.INFO
    prompts: Reloadable[Flag] = False


class ServerSettings(Part):
    host: Text = "127.0.0.1"
    port: Annotated[int, an_int(0, 65535)] = 8080
    public_url: Reloadable[Address | None] = None
    admin_keys: Reloadable[tuple[KeyDigest, ...]] = Field(default=(), repr=False)
    metrics_keys: Reloadable[tuple[KeyDigest, ...]] = Field(default=(), repr=False)
    timezone: Reloadable[TimeZone] = "UTC"
    log: Log = Log()
    body_limit_bytes: Reloadable[BodyBytes] = 1_048_576
    upload_limit_bytes: Reloadable[UploadBytes] = 100_000_000
    openai_wait_seconds: Reloadable[Seconds] = 290.0
    openai_sdk_on_v1: Reloadable[Flag] = False
    cors_origins: Reloadable[tuple[Origin, ...]] = ()
    max_waiters: Reloadable[Annotated[int, an_int(0, 1_000_000)]] = 10_000
    shutdown_grace_seconds: Seconds = 30.0

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
    jobs_seconds: WholeDays = 400 * 86_400.0
    idempotency_keys_seconds: WholeDays = 7 * 86_400.0
    refusals_seconds: WholeDays = 30 * 86_400.0


class Storage(Part):
    data_dir: Text = "./data"
    ledger: LedgerPlace = "sqlite"
    pictures: PicturesPlace = "folder"
    free_space_floor_bytes: Reloadable[BytesOrNone] = 1_000_000_000
    picture_limit_bytes: Reloadable[Bytes] = 64_000_000
    retention: Reloadable[Retention] = Retention()


class PollSettings(Part):
    first_seconds: Seconds = 3.0
    every_seconds: Seconds = 4.0
    max_seconds: Seconds = 15.0


class Timeout(Part):
    connect_seconds: Seconds = 5.0
    submit_seconds: Seconds = 25.0
    poll_seconds: Seconds = 20.0
    download_seconds: Seconds = 120.0


class UpstreamEntry(Part):
    base_url: BaseAddress
    files_url: Address | None = None
    api_key: Secret
    poll: PollSettings = PollSettings()
    timeout: Timeout = Timeout()
    allow_private_addresses: Flag = False
    usd_micros_per_credit: MoneyAboveZero | None = None
    resend_after_lost_answer: Flag = False
    not_taken: tuple[Text, ...] = ()
    max_connections: Annotated[int, an_int(1, 10_000)] = 100
    callbacks: Flag = False
    proxy: Proxy = None  # None: as the environment says, here and below
    user_agent: HeaderLine = f"image-gateway/{__version__}"


class PriceEntry(Part):
    """US dollars per picture for orders whose named fields have these values."""

    size: Size | None = None
    quality: Text | None = None
    resolution: Text | None = None
    usd_micros: Price

    @property
    def match(self) -> tuple[tuple[str, str], ...]:
        named = (("size", self.size), ("quality", self.quality), ("resolution", self.resolution))
        return tuple((field, value) for field, value in named if value is not None)


class RouteEntry(Part):
    upstream: Name
    model: Name
    price: Annotated[tuple[PriceEntry, ...], BeforeValidator(_price_list)]


class ModelLimits(Part):
    """What the model accepts; None means that upstream judges.

    An order's value of a field without a list is priced at the dearest that it may mean.
    """

    prompt_tokens: Count | None = None
    prompt_characters: Count | None = None
    max_n: Annotated[int, an_int(1, 10)] = 10
    max_image_urls: Annotated[int, an_int(0, 16)] = 16
    sizes: tuple[Size, ...] | None = None
    qualities: tuple[Text, ...] | None = None
    resolutions: tuple[Text, ...] | None = None

    @property
    def lists(self) -> Mapping[str, tuple[str, ...] | None]:
        """By the name of the field in an order."""
        return {"size": self.sizes, "quality": self.qualities, "resolution": self.resolutions}


class ModelEntry(Part):
    aliases: tuple[Name, ...] = ()
    limits: ModelLimits = ModelLimits()
    defaults: dict[str, FreeValue] = {}
    deadline_seconds: Seconds = 900.0
    routes: tuple[RouteEntry, ...]


class Cache(Part):
    ttl_seconds: Reloadable[Days] = 30 * 86_400.0
    size_limit_bytes: BytesOrNone = 1_000_000_000
    scope: Reloadable[Scope] = CacheScope.TEAM
    client_control: Reloadable[Control] = ClientControl.HONOUR
    remember_lost_seconds: Reloadable[SecondsOrNone] = 900.0


class CallbackSettings(Part):
    timeout_seconds: Reloadable[Seconds] = 10.0
    retries: Reloadable[tuple[Seconds, ...]] = (1.0, 2.0, 4.0)
    signing_secret: Reloadable[SecretOrNone] = None
    allow_private_addresses: Reloadable[Flag] = False
    proxy: Reloadable[Proxy] = None
    concurrency: Annotated[int, an_int(1, 1_000)] = 16


class Alerts(Part):
    """Told of teams that come near a limit; None: nobody is."""

    webhook: Webhook = None
    thresholds: tuple[Percent, ...] = (80, 100)
    signing_secret: SecretOrNone = None
    allow_private_addresses: Flag = False
    proxy: Proxy = None


class ReferenceLinks(Part):
    """How the gateway itself fetches what teams' links to reference pictures name."""

    allow_private_addresses: Flag = False
    proxy: Proxy = None


class RetrySettings(Part):
    first_seconds: Seconds = 1.0
    max_seconds: Seconds = 30.0
    dead_after_seconds: Seconds = 3600.0


class WorkerSettings(Part):
    concurrency: Annotated[int, an_int(1, 10_000)] = 64
    downloads: Annotated[int, an_int(1, 1_000)] = 16
    retry: Reloadable[RetrySettings] = RetrySettings()


class Budget(Part):
    usd_micros: MoneyAboveZero
    per: Per


class ImageCount(Part):
    count: Count
    per: Per


class TeamLimits(Part):
    images: tuple[ImageCount, ...] = ()
    runs_per_minute: Count | None = None
    concurrent_runs: Count | None = None


class TeamAllow(Part):
    """What the team may ask for; None means anything that the models offer."""

    models: tuple[Name, ...] | None = None
    sizes: tuple[Size, ...] | None = None
    qualities: tuple[Text, ...] | None = None
    max_n: Annotated[int, an_int(1, 10)] | None = None


class TeamCache(Part):
    scope: Scope | None = None  # None: the scope of the `cache` section
    client_control: Control | None = None  # None: that of the `cache` section


class TeamEntry(Part):
    description: Description | None = None
    keys: tuple[KeyDigest, ...] = Field(default=(), repr=False)
    budgets: tuple[Budget, ...] = ()
    limits: TeamLimits = TeamLimits()
    allow: TeamAllow = TeamAllow()
    cache: TeamCache = TeamCache()
    mode: TeamMode = Mode.ENFORCE
    references: References = ReferenceMode.TRUST


class Settings(Part):
    """All settings, typed and checked; `load`, `parse` and `sandbox_settings` make them."""

    server: ServerSettings = ServerSettings()
    storage: Storage = Storage()
    upstreams: Reloadable[dict[Name, UpstreamEntry]] = {}
    models: Reloadable[dict[Name, ModelEntry]] = {}
    cache: Cache = Cache()
    callbacks: CallbackSettings = CallbackSettings()
    alerts: Reloadable[Alerts] = Alerts()
    references: Reloadable[ReferenceLinks] = ReferenceLinks()
    worker: WorkerSettings = WorkerSettings()
    teams: Reloadable[dict[Name, TeamEntry]] = {}

    def shown(self) -> Mapping[str, object]:
        """The effective settings by their YAML names, secrets masked, digests shortened."""
        return self.model_dump(by_alias=True, exclude_none=True)
