import { createHash } from 'node:crypto';
import { DAY_MS, MINUTE_MS, WINDOW_BUCKETS } from './token-window.ts';

/** A Lua script with the SHA-1 that Redis knows it by. */
export type RedisScript = { readonly text: string; readonly sha1: string };

/** Leases that one script takes back at most, so that none runs for long. */
const SWEPT_MAX = 100;

/**
 * What the scripts share. An account is three keys: a hash with the due time (GCRA), the tokens reserved by all leases and
 * the buckets of both windows; a sorted set of leases by the time they run out; and a hash with what each lease has
 * reserved and what of it was used. A script gets these three keys and seven numbers for each account; −1 stands for what
 * is not limited. Times are the server's.
 */
const SHARED = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000

local function account(i)
  local base = 5 + (i - 1) * 7
  local of = { a = KEYS[i * 3 - 2], l = KEYS[i * 3 - 1], r = KEYS[i * 3], windows = {} }
  of.interval, of.tolerance, of.callsMax = tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]), tonumber(ARGV[base + 3])
  of.minuteMax, of.dayMax = tonumber(ARGV[base + 4]), tonumber(ARGV[base + 5])
  of.shrinks, of.ttl = ARGV[base + 6] == '1', tonumber(ARGV[base + 7])
  of.countsTokens = of.minuteMax >= 0 or of.dayMax >= 0
  return of
end

-- Takes back what leases had that ran out.
local function sweep(of)
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', of.l, '-inf', now, 'LIMIT', 0, ${SWEPT_MAX})) do
    local had = redis.call('HMGET', of.r, lease, lease .. '/used')
    local left = (tonumber(had[1]) or 0) - (tonumber(had[2]) or 0)
    if left > 0 then redis.call('HINCRBY', of.a, 'reserved', -left) end
    redis.call('HDEL', of.r, lease, lease .. '/used')
    redis.call('ZREM', of.l, lease)
  end
end

-- One rolling window: buckets that no longer count are taken off its total.
local function window(of, name, max, width)
  local known = redis.call('HMGET', of.a, name .. 'total', name .. 'oldest')
  local newest = math.floor(now / width)
  local total, oldest = tonumber(known[1]) or 0, tonumber(known[2]) or newest
  local first = newest - ${WINDOW_BUCKETS}
  if oldest < first then
    for bucket = oldest, math.min(first - 1, oldest + ${WINDOW_BUCKETS}) do
      local tokens = redis.call('HGET', of.a, name .. bucket)
      if tokens then
        total = total - tonumber(tokens)
        redis.call('HDEL', of.a, name .. bucket)
      end
    end
    oldest = first
    redis.call('HSET', of.a, name .. 'total', total, name .. 'oldest', oldest)
  end
  return { name = name, max = max, width = width, total = total, oldest = oldest, newest = math.max(newest, oldest) }
end

local function openWindows(of)
  if of.minuteMax >= 0 then table.insert(of.windows, window(of, 'm', of.minuteMax, ${MINUTE_MS / WINDOW_BUCKETS})) end
  if of.dayMax >= 0 then table.insert(of.windows, window(of, 'd', of.dayMax, ${DAY_MS / WINDOW_BUCKETS})) end
  of.reserved = math.max(0, tonumber(redis.call('HGET', of.a, 'reserved') or '0'))
end

-- Tokens that are left, beside 'others' reserved ones.
local function leftIn(of, others)
  local left = math.huge
  for _, w in ipairs(of.windows) do left = math.min(left, w.max - w.total - others) end
  return left
end

local function waitIn(of, w, excess)
  local freed = 0
  for bucket = w.oldest, w.newest do
    freed = freed + (tonumber(redis.call('HGET', of.a, w.name .. bucket) or '0'))
    if freed >= excess then return math.ceil((bucket + ${WINDOW_BUCKETS + 1}) * w.width - now) end
  end
  return -1
end

-- Which window lacks room for as many, and for how long; -1: that depends on others.
local function lack(of, wanted)
  local name, wait = 'm', 0
  for _, w in ipairs(of.windows) do
    local excess = w.total + wanted - w.max
    if excess > 0 then
      local own = waitIn(of, w, excess)
      if own < 0 then return w.name, -1 end
      if own >= wait then name, wait = w.name, own end
    end
  end
  return name, wait
end

local function book(of, tokens)
  for _, w in ipairs(of.windows) do
    redis.call('HINCRBY', of.a, w.name .. w.newest, tokens)
    redis.call('HSET', of.a, w.name .. 'total', w.total + tokens, w.name .. 'oldest', w.oldest)
  end
end

local function keep(of, renewed)
  redis.call('PEXPIRE', of.a, of.ttl)
  if not renewed then return end
  redis.call('PEXPIRE', of.l, of.ttl)
  if of.countsTokens then redis.call('PEXPIRE', of.r, of.ttl) end
end
`;

/**
 * Room in all accounts, or in none.
 * ARGV: lease, milliseconds it lasts, tokens wanted (−1: not counted), 0, 0; then seven for each account.
 * Gives {1, granted}, or {0, account, what is short, milliseconds to wait or −1}.
 */
export const ADMIT: RedisScript = script(`
local lease, leaseMs, wanted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local granted = wanted
local accounts = {}
for i = 1, #KEYS / 3 do
  local of = account(i)
  sweep(of)
  if of.interval >= 0 then
    of.due = tonumber(redis.call('HGET', of.a, 'due') or '0')
    local early = of.due - now - of.tolerance
    if early > 0 then return { 0, i, 'r', math.ceil(early) } end
  end
  if of.callsMax >= 0 and redis.call('ZCOUNT', of.l, '(' .. string.format('%.3f', now), '+inf') >= of.callsMax then
    return { 0, i, 'c', -1 }
  end
  if wanted >= 0 and of.countsTokens then
    openWindows(of)
    local left = leftIn(of, of.reserved)
    if left < 1 or (left < wanted and not of.shrinks) then
      local name, wait = lack(of, of.reserved + (of.shrinks and 1 or wanted))
      return { 0, i, name, wait }
    end
    granted = math.min(granted, left)
  end
  table.insert(accounts, of)
end
for _, of in ipairs(accounts) do
  if of.interval >= 0 then redis.call('HSET', of.a, 'due', math.max(of.due, now) + of.interval) end
  redis.call('ZADD', of.l, now + leaseMs, lease)
  if wanted >= 0 and of.countsTokens then
    redis.call('HINCRBY', of.a, 'reserved', granted)
    redis.call('HSET', of.r, lease, granted, lease .. '/used', 0)
  end
  keep(of, true)
end
return { 1, granted }
`);

/**
 * Says what a lease has used and wants to have, both in all, so that it may be said twice; renews it, or ends it.
 * A lease that the server has lost is taken up again.
 * ARGV: lease, milliseconds it lasts from now (0: it has ended), tokens used, tokens wanted (−1: not counted), tokens that
 * were said to be used before; then seven for each account.
 * Gives {granted, account that is short or 0, what is short, milliseconds to wait or −1}.
 */
export const REPORT: RedisScript = script(`
local lease, leaseMs, used = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, said = tonumber(ARGV[4]), tonumber(ARGV[5])
local own, short, name, wait = wanted - used, 0, '', -1
local accounts = {}
for i = 1, #KEYS / 3 do
  local of = account(i)
  sweep(of)
  if wanted >= 0 and of.countsTokens then
    openWindows(of)
    local had = redis.call('HMGET', of.r, lease, lease .. '/used')
    of.new = math.max(0, used - (tonumber(had[2]) or said))
    of.outstanding = (tonumber(had[1]) or 0) - (tonumber(had[2]) or 0)
    local left = math.max(0, leftIn(of, of.reserved - of.outstanding) - of.new)
    if left < own then
      own, short = left, i
      name, wait = lack(of, of.reserved - of.outstanding + of.new + left + 1)
    end
  end
  table.insert(accounts, of)
end
if leaseMs == 0 then own = 0 end
for _, of in ipairs(accounts) do
  if of.new then
    if of.new > 0 then book(of, of.new) end
    redis.call('HINCRBY', of.a, 'reserved', own - of.outstanding)
    if leaseMs > 0 then redis.call('HSET', of.r, lease, used + own, lease .. '/used', used)
    else redis.call('HDEL', of.r, lease, lease .. '/used') end
  end
  if leaseMs > 0 then redis.call('ZADD', of.l, now + leaseMs, lease) else redis.call('ZREM', of.l, lease) end
  keep(of, leaseMs > 0)
end
return { used + own, short, name, wait }
`);

function script(body: string): RedisScript {
  const text = SHARED + body;
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
