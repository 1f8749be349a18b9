-- Sends the requests of a file in turn, one a line: method, path, token and body, separated by tabs.
-- Afterwards prints one line of JSON; latencies are in milliseconds.

local requests = {}
local turn = 0

local function read(line)
  local method, path, token, body = line:match("^(%S+)\t(%S+)\t(%S+)\t(.*)$")
  local headers = { ["Authorization"] = "Bearer " .. token, ["Origin"] = "http://localhost:3000" }
  if body == "" then
    body = nil
  else
    headers["Content-Type"] = "application/json"
  end
  return wrk.format(method, path, headers, body)
end

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = read(line)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local text = '{"requests": %d, "rate": %.2f, "p50": %.4f, "p99": %.4f, "refused": %d, "failed": %d}\n'
  local rate = summary.requests / summary.duration * 1e6
  local p50, p99 = latency:percentile(50) / 1000, latency:percentile(99) / 1000
  io.write(text:format(summary.requests, rate, p50, p99, errors.status, failed))
end
