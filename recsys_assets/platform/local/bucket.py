"""Which of 10,000 buckets a user falls into: the Lua that the gateway runs.

Here: the program, which tests hold to a twin in Python. Not here: which bucket gets which variant (the canary gets the
lowest).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recsys_assets import visitor_id

BUCKETS: Final = 10_000
BUCKET_HEADER: Final = "x-recsys-bucket"
VARIANT_HEADER: Final = "x-recsys-variant"
# Names the service that gets copies: a server of that name answers nobody. Meshes differ in how they mark a copy.
SHADOW_HEADER: Final = "x-recsys-shadow"
# Set by us alone, on the way in and on the way out: a client's own are dropped.
INTERNAL_HEADERS: Final = (VARIANT_HEADER, BUCKET_HEADER, SHADOW_HEADER, "x-model-version", "x-recsys-rung")
LUA_FILTER: Final = "envoy.filters.http.lua"


# Salted FNV-1a of 32 bits, its bits mixed once more, modulo 10,000. FNV alone hardly moves its high bits for the last
# characters of short ids; the mixer (MurmurHash3's) makes the buckets of one release independent of those of the next,
# so that not always the same users are the first.
# Lua's numbers are doubles: a product of 32 bits by 32 would lose its low ones, so each is made of two halves.
LUA: Final = """
local bit = require("bit")

local function times(a, b)
  local low = bit.band(a, 0xffff) * b
  local high = bit.band(bit.rshift(a, 16) * bit.band(b, 0xffff), 0xffff) * 65536
  return bit.tobit((low + high) % 4294967296)
end

local function bucket(text)
  local state = bit.tobit(0x811c9dc5)
  for i = 1, #text do
    state = times(bit.bxor(state, string.byte(text, i)), 0x01000193)
  end
  state = times(bit.bxor(state, bit.rshift(state, 16)), 0x85ebca6b)
  state = times(bit.bxor(state, bit.rshift(state, 13)), 0xc2b2ae35)
  return (bit.bxor(state, bit.rshift(state, 16)) % 4294967296) % %(buckets)d
end

-- Whose request it would be depends on who reads the headers: the gateway, a proxy, a server.
local function sent_twice(headers)
  return headers:get("%(visitor)s") ~= nil and headers:getNumValues("%(visitor)s") > 1
end

function envoy_on_request(handle)
  local headers = handle:headers()
  %(strip)s
  if sent_twice(headers) then
    headers:remove("%(visitor)s")
    handle:clearRouteCache()
  end
  local salt = handle:metadata():get("salt")
  if salt == nil then return end
  local user = headers:get(handle:metadata():get("header"))
  if user == nil then return end
  headers:replace("%(bucket)s", tostring(bucket(salt .. ":" .. user)))
  handle:clearRouteCache()
end
"""


def lua_source() -> str:
    """The filter's program. The salt stands in the route's metadata, so that a new release changes routes only."""
    strip = " ".join(f'headers:remove("{name}")' for name in INTERNAL_HEADERS)
    words = {"%(buckets)d": str(BUCKETS), "%(strip)s": strip, "%(bucket)s": BUCKET_HEADER}
    return filled(LUA, words)


def filled(program: str, words: Mapping[str, str]) -> str:
    """A Lua program with its marks replaced; that of the visitor's header is the same for every gateway."""
    for mark, word in {**words, "%(visitor)s": visitor_id.HEADER}.items():
        program = program.replace(mark, word)
    return program
