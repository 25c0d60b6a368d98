-- Counts what the two servers answer, for Prometheus. Each worker counts for itself, and adds its numbers to those that
-- all share once a second: doing so with each request would cost as much as serving a small image.
local shared = ngx.shared.metrics

local FLUSH_SECONDS = 1
-- Upper bounds of the histogram, in seconds.
local BOUNDS = {0.005, 0.025, 0.1, 0.5, 2.5, 10}
local HELP = {
    {"media_gateway_requests_total", "counter", "Requests of clients, by status and by what the cache had."},
    {"media_gateway_sent_bytes_total", "counter", "What was sent to clients, without headers."},
    {"media_gateway_request_seconds", "histogram", "How long requests of clients took, to the last byte."},
    {"media_gateway_store_requests_total", "counter", "Requests to the object store, by its status; 000 for none."},
    {"media_gateway_store_seconds_total", "counter", "How long the object store took, to the last byte."},
    {"media_gateway_connections", "gauge", "Connections of clients, by what they do."},
}

local own = {}
-- The names of the counters of requests, by status and by what the cache had.
local requests = {}

local function add(name, number)
    own[name] = (own[name] or 0) + number
end

local function flush()
    for name, number in pairs(own) do
        shared:incr(name, number, 0)
    end
    own = {}
end

local metrics = {}

-- Has a worker share its numbers from now on, and when it ends.
function metrics.start()
    assert(ngx.timer.every(FLUSH_SECONDS, flush))
end

-- Counts a request of the server `edge`, when it is over.
function metrics.edge()
    local var = ngx.var
    local status, cache = var.status, var.upstream_cache_status or "NONE"
    local key = status .. cache
    local name = requests[key]
    if not name then
        name = ('media_gateway_requests_total{code="%s",cache="%s"}'):format(status, cache)
        requests[key] = name
    end
    add(name, 1)
    add("media_gateway_sent_bytes_total", tonumber(var.body_bytes_sent))
    local seconds = tonumber(var.request_time)
    add("media_gateway_request_seconds_sum", seconds)
    -- Only the smallest bound that holds; the others follow from it.
    for index = 1, #BOUNDS do
        if seconds <= BOUNDS[index] then
            return add(index, 1)
        end
    end
    add(#BOUNDS + 1, 1)
end

-- Counts a request of the server `origin`.
function metrics.origin()
    -- Several, when one was asked after another; the last one is what counted.
    local code = (ngx.var.upstream_status or ""):match("(%d+)$") or "000"
    add(('media_gateway_store_requests_total{code="%s"}'):format(code), 1)
    add("media_gateway_store_seconds_total", tonumber((ngx.var.upstream_response_time or ""):match("([%d.]+)$")) or 0)
end

-- The lines of the histogram: how many took no longer than each bound, and how many there were.
local function histogram(lines)
    local count = 0
    for index = 1, #BOUNDS + 1 do
        count = count + (shared:get(index) or 0)
        lines[#lines + 1] = ('media_gateway_request_seconds_bucket{le="%s"} %d'):format(BOUNDS[index] or "+Inf", count)
    end
    lines[#lines + 1] = ("media_gateway_request_seconds_count %d"):format(count)
end

-- Answers with all of it, in the text format of Prometheus.
function metrics.show()
    flush()
    local lines = {}
    for _, name in ipairs(shared:get_keys(0)) do
        if not tonumber(name) then
            lines[#lines + 1] = name .. " " .. shared:get(name)
        end
    end
    table.sort(lines)
    histogram(lines)
    for _, state in ipairs {"reading", "writing", "waiting"} do
        lines[#lines + 1] = ('media_gateway_connections{state="%s"} %s'):format(state, ngx.var["connections_" .. state])
    end
    ngx.header["Content-Type"] = "text/plain; version=0.0.4"
    for _, help in ipairs(HELP) do
        local name, kind, text = help[1], help[2], help[3]
        ngx.print("# HELP ", name, " ", text, "\n# TYPE ", name, " ", kind, "\n")
        for _, line in ipairs(lines) do
            if line:sub(1, #name) == name and line:sub(#name + 1):match("^[ {_]") then
                ngx.print(line, "\n")
            end
        end
    end
end

return metrics
