-- Send the requests of a corpus file one after the other; say at the end, in one line of JSON, how it went.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  requests, position, wraps = {}, 0, 0
  local file = assert(io.open(args[1], "rb"))
  while true do
    local size = file:read("*l")
    if not size then break end
    requests[#requests + 1] = file:read(tonumber(size))
  end
  file:close()
end

function request()
  position = position + 1
  if position > #requests then
    position, wraps = 1, wraps + 1
  end
  return requests[position]
end

function done(summary, latency, _)
  local wraps = 0
  for _, thread in ipairs(threads) do wraps = wraps + thread:get("wraps") end
  local failed = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"not_2xx":%d,"broken":%d,"wraps":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed.status,
    failed.connect + failed.read + failed.write + failed.timeout, wraps))
end
