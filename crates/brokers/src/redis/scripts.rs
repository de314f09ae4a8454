//! The scripts that are run on the server, each over the key of the stream.

/// Appends a message. Nothing is ever removed, so that the length is the last number: a stream that
/// is shorter than it was known to be is another one, or has lost some. Formatted because Lua would
/// round large numbers.
pub(super) const APPEND: &str = "
local number = redis.call('XLEN', KEYS[1]) + 1
if number <= tonumber(ARGV[2]) then
  return redis.error_reply('ENSUELOST ' .. string.format('%.0f', number - 1))
end
return redis.call('XADD', KEYS[1], string.format('%.0f-0', number), 'm', ARGV[1])";

/// Does what appending does, with an id that no entry can have.
pub(super) const TRY: &str = "
redis.call('XLEN', KEYS[1])
return redis.call('XADD', KEYS[1], '0-0', 'm', '')";
/// What is said to that by a server that would have appended.
pub(super) const TRIED: &str = "must be greater than 0-0";

/// Whether no entry is missing: the length is the last number.
pub(super) const WHOLE: &str = "
local length = redis.call('XLEN', KEYS[1])
local beyond = redis.call('XRANGE', KEYS[1], string.format('%.0f', length + 1), '+', 'COUNT', 1)
return {length, #beyond}";

/// Reads entries from an id on: at least one, and what fits into so many bytes and messages; says
/// whether there is more. It looks at few entries first, as they may be large.
pub(super) const FETCH: &str = "
local from, bytes_max, count_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local found, bytes, step = {}, 0, 4
while true do
  local part = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', step)
  for _, entry in ipairs(part) do
    bytes = bytes + #entry[2][2]
    if #found > 0 and (bytes > bytes_max or #found >= count_max) then
      return {1, found}
    end
    found[#found + 1] = entry
  end
  if #part < step then
    return {0, found}
  end
  from = string.format('%.0f', tonumber(string.match(part[#part][1], '^%d+')) + 1)
  step = math.min(step * 2, 32)
end";
