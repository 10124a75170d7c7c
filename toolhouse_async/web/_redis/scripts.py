"""What the Redis server does with turns, each in one step.

A turn is a hash ``turn:NAME`` with the fields ``id``, ``owner``, ``note``, ``agent``, ``run``, ``count`` (of events),
``size`` (bytes), ``beat`` (until when its process is alive), ``doubt`` (since when that is over), ``over``, ``stop``;
and a stream ``events:ID``. All times are the server's own, in milliseconds.

Each script takes as first arguments: the prefix of all names, how long a process is alive without a sign of life, how
long it may come back, and how long a turn is kept when it is over.
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPEND", "CHECK", "CLAIM", "FINISH", "FORGET", "GET", "RENEW", "STOP"]

_COMMON: Final = """
local prefix, lease, grace, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local LAST = '9007199254740992-0'

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function events(id)
    return prefix .. 'events:' .. id
end

local function finish(key, id, how, why)
    redis.call('XADD', events(id), LAST, how, why)
    redis.call('HSET', key, 'over', '1')
    redis.call('PEXPIRE', key, keep)
    redis.call('PEXPIRE', events(id), keep)
end

-- The turn's id, whether it is over, and whether its process may be gone. It is over, too, where that is gone: not as
-- soon as it has given no sign of life for its time, but some time after somebody has seen that. For the server may
-- have been away itself.
local function standing(key)
    local id, over, beat, doubt, count, run =
        unpack(redis.call('HMGET', key, 'id', 'over', 'beat', 'doubt', 'count', 'run'))
    if not id or over then return id, over and true end
    local time = now()
    if tonumber(beat) > time then return id, false end
    if not doubt then
        redis.call('HSET', key, 'doubt', string.format('%d', time))
        return id, false, true
    end
    if time < tonumber(doubt) + grace then return id, false, true end
    finish(key, id, 'lost', count .. ' ' .. (run or ''))
    return id, true
end

local function alive(key, id)
    redis.call('HSET', key, 'beat', string.format('%d', now() + lease))
    redis.call('HDEL', key, 'doubt')
    redis.call('PEXPIRE', key, lease + grace + keep)
    redis.call('PEXPIRE', events(id), lease + grace + keep)
end
"""

CLAIM: Final = (
    _COMMON
    + """
local key, id, linger = KEYS[1], ARGV[5], tonumber(ARGV[9])
local known, over = standing(key)
if known == id then return over and 0 or 1 end
if known and not over then return 0 end
if known then redis.call('PEXPIRE', events(known), math.min(keep, linger)) end
redis.call('DEL', key)
redis.call('HSET', key, 'id', id, 'owner', ARGV[6], 'note', ARGV[7], 'agent', ARGV[8], 'count', '0', 'size', '0')
alive(key, id)
return 1
"""
)
"""Takes a name for a new turn: 1, or 0 where a turn of that name is running."""

APPEND: Final = (
    _COMMON
    + """
local key, id, before, run, most, latest = KEYS[1], ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), ARGV[9]
local known, over, count, size = unpack(redis.call('HMGET', key, 'id', 'over', 'count', 'size'))
if not known then return {-1, 0} end
if known ~= id or over then return {-2, 0} end
count, size = tonumber(count), tonumber(size)
if count < before then return {0, count} end
local stream = events(id)

local function weight(kind, words, line)
    return kind == 'r' and 100 or #words + #(line or '') + 100
end

for i = 10, #ARGV, 4 do
    local name, kind, words, line = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local last = tonumber(string.match(name, '^%d+'))
    if last > count then
        if line == '' then
            redis.call('XADD', stream, name, kind, words)
        else
            redis.call('XADD', stream, name, kind, words, 'l', line)
        end
        count, size = last, size + weight(kind, words, line)
    end
end
if size > most then
    while size > most * 7 / 8 do
        local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 2)
        if #oldest == 0 or (#oldest == 1 and latest == '1') then break end
        local fields = oldest[1][2]
        size = size - weight(fields[1], fields[2], fields[4])
        redis.call('XDEL', stream, oldest[1][1])
    end
end
redis.call('HSET', key, 'count', string.format('%d', count), 'size', string.format('%d', size), 'run', run)
alive(key, id)
return {1, count}
"""
)
"""Adds entries, and drops the oldest beyond the bound: 1 and the number of the last event. Or -1, where the turn is not
known; -2, where it is not this process's any more; 0, where fewer events stand there than were written."""

FINISH: Final = (
    _COMMON
    + """
local key, id = KEYS[1], ARGV[5]
local known, over = unpack(redis.call('HMGET', key, 'id', 'over'))
if not known then return -1 end
if known ~= id or over then return -2 end
finish(key, id, 'end', ARGV[6])
return 1
"""
)
"""Ends a turn, as :data:`APPEND` answers."""

RENEW: Final = (
    _COMMON
    + """
local told = {}
for i, key in ipairs(KEYS) do
    local known, over, stop = unpack(redis.call('HMGET', key, 'id', 'over', 'stop'))
    if not known then
        told[i] = -1
    elseif known ~= ARGV[4 + i] or over then
        told[i] = -2
    else
        alive(key, known)
        told[i] = stop and 2 or 1
    end
end
return told
"""
)
"""Signs of life of turns: 1, or 2 where one is to be stopped; else as :data:`APPEND` answers."""

CHECK: Final = (
    _COMMON
    + """
local told = {}
for i, key in ipairs(KEYS) do
    local known = standing(key)
    told[i] = known or ''
end
return told
"""
)
"""The ids of turns; where the process of one is gone that is noted."""

GET: Final = (
    _COMMON
    + """
local id, over = standing(KEYS[1])
if not id then return {} end
local note, agent, run, count = unpack(redis.call('HMGET', KEYS[1], 'note', 'agent', 'run', 'count'))
local last = over and redis.call('XRANGE', events(id), LAST, LAST) or {}
return {id, over and 1 or 0, note or '', agent or '', run or '', count or '0', last}
"""
)
"""A turn as it stands."""

STOP: Final = (
    _COMMON
    + """
local key, id = KEYS[1], ARGV[5]
local known, over = standing(key)
if known == id and not over then
    redis.call('HSET', key, 'stop', '1')
    local owner = prefix .. 'process:' .. redis.call('HGET', key, 'owner')
    redis.call('XADD', owner, 'MAXLEN', '~', '100', '*', 'stop', id)
    redis.call('PEXPIRE', owner, lease + grace + keep)
end
return 1
"""
)
"""Asks the process that runs a turn to stop it."""

FORGET: Final = (
    _COMMON
    + """
local key, only = KEYS[1], ARGV[5]
local known, over, doubtful = standing(key)
if not known or (only ~= '' and known ~= only) then return 1 end
if not over and only == '' then return doubtful and -1 or 0 end
redis.call('DEL', key, events(known))
return 1
"""
)
"""Forgets a turn that is over, or one that was not begun: 1, or 0 where it is running; -1, where its process may be
gone."""
