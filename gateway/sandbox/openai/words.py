"""The magic words of the simulated OpenAI: one table for the parser, the rates and `--help`."""

from collections.abc import Mapping

from gateway.sandbox.magic import Value, Word

WORDS: Mapping[str, Word] = {
    word.name: word
    for word in (
        # --- refused at once: no work, no charge
        Word("http", "http=STATUS[:CODE]", Value.STATUS, "503",
             "refused at once with that status (and code), as a page of HTML for 502, 504 and 52x"),
        Word("fail", "fail=CODE", Value.CODE, "moderation_blocked",
             "refused at once as that code is: moderation_blocked, rate_limit_exceeded, "
             "credit_balance_exhausted, unverified, contentFilter, Forbidden ..."),
        Word("redirect", "redirect", Value.NONE, "",
             "redirected at once to http://169.254.169.254/, an internal address"),
        Word("retry-after", "retry-after=SECONDS", Value.NUMBER, None,
             "a 429 names that time instead of one second"),
        Word("detail", "detail", Value.NONE, "",
             "errors have the shape of a compatible server: {\"detail\": \"...\"}"),
        Word("elsewhere", "elsewhere", Value.NONE, "",
             "nothing happens here; a simulated EvoLink refuses the prompt"),
        # --- the work, and what it costs
        Word("delay", "delay=SECONDS", Value.NUMBER, None,
             "the work takes exactly that long"),
        Word("tokens", "tokens=COUNT", Value.NUMBER, None,
             "the pictures together are worth that many output tokens"),
        Word("text-out", "text-out=COUNT", Value.NUMBER, None,
             "that many text tokens come out beside the pictures"),
        Word("results", "results=COUNT", Value.WHOLE, None,
             "COUNT pictures are made and charged, whatever n asked for"),
        Word("off-size", "off-size", Value.NONE, "",
             "the pictures are a few pixels larger than asked"),
        # --- after the full time: the work is done and charged, yet no picture comes
        Word("late-http", "late-http=STATUS[:CODE]", Value.STATUS, "500",
             "refused with that status when the work is done"),
        Word("late-fail", "late-fail=CODE", Value.CODE, "moderation_blocked",
             "refused as that code is when the work is done; in a stream as an event"),
        Word("free", "free", Value.NONE, "",
             "whatever becomes of the call, it costs nothing"),
        Word("drop", "drop", Value.NONE, "",
             "the work is charged, then the connection is cut before the first byte"),
        Word("cut", "cut", Value.NONE, "",
             "the work is charged, then the connection is cut in the middle of the answer"),
        Word("hang", "hang", Value.NONE, "",
             "the work is charged, but never answered"),
        # --- 200, charged, and something is wrong with it
        Word("drip", "drip[=SECONDS]", Value.NUMBER, "1",
             "the answer comes byte by byte, each after a second (or that long)"),
        Word("huge", "huge[=MEGABYTES]", Value.NUMBER, "200",
             "the answer is 200 MB (or so many) long"),
        Word("gzip", "gzip", Value.NONE, "",
             "the answer is compressed, asked or not"),
        Word("garbage", "garbage", Value.NONE, "",
             "the answer is not JSON"),
        Word("error-200", "error-200", Value.NONE, "",
             "the answer is 200 with the body of an error"),
        Word("empty-data", "empty-data", Value.NONE, "",
             "the answer has no picture: data is []"),
        Word("bad-base64", "bad-base64", Value.NONE, "",
             "the pictures are no base64"),
        Word("not-a-picture", "not-a-picture", Value.NONE, "",
             "the base64 holds a page of HTML"),
        Word("url", "url", Value.NONE, "",
             "the pictures are links to this sandbox instead of base64"),
        Word("no-usage", "no-usage", Value.NONE, "",
             "the answer does not say what it cost"),
        Word("no-details", "no-details", Value.NONE, "",
             "usage has no output_tokens_details"),
        Word("bad-usage", "bad-usage", Value.NONE, "",
             "usage holds texts and negative numbers"),
        # --- streams
        Word("unfinished", "unfinished", Value.NONE, "",
             "a stream ends in good order, but without the event that completes it"),
        Word("fewer-partials", "fewer-partials", Value.NONE, "",
             "a stream brings one partial picture fewer than asked, and charges it"),
    )
}  # fmt: skip
