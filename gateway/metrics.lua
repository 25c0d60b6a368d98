-- Counts what the two servers answer, for Prometheus.
local counts = ngx.shared.metrics

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

local function add(name, labels, number)
    counts:incr(labels == "" and name or name .. "{" .. labels .. "}", number, 0)
end

local metrics = {}

-- Counts a request of the server `edge`, when it is over.
function metrics.edge()
    local cache = ngx.var.upstream_cache_status or "NONE"
    local seconds = tonumber(ngx.var.request_time)
    add("media_gateway_requests_total", ('code="%s",cache="%s"'):format(ngx.var.status, cache), 1)
    add("media_gateway_sent_bytes_total", "", tonumber(ngx.var.body_bytes_sent))
    for _, bound in ipairs(BOUNDS) do
        add("media_gateway_request_seconds_bucket", ('le="%s"'):format(bound), seconds <= bound and 1 or 0)
    end
    add("media_gateway_request_seconds_bucket", 'le="+Inf"', 1)
    add("media_gateway_request_seconds_sum", "", seconds)
    add("media_gateway_request_seconds_count", "", 1)
end

-- Counts a request of the server `origin`.
function metrics.origin()
    -- Several, when one was asked after another; the last one is what counted.
    local code = (ngx.var.upstream_status or ""):match("(%d+)$") or "000"
    add("media_gateway_store_requests_total", ('code="%s"'):format(code), 1)
    add("media_gateway_store_seconds_total", "", tonumber((ngx.var.upstream_response_time or ""):match("([%d.]+)$")) or 0)
end

-- Answers with all of it, in the text format of Prometheus.
function metrics.show()
    local lines = {}
    for _, name in ipairs(counts:get_keys(0)) do
        lines[#lines + 1] = name .. " " .. counts:get(name)
    end
    for _, state in ipairs {"reading", "writing", "waiting"} do
        lines[#lines + 1] = ('media_gateway_connections{state="%s"} %s'):format(state, ngx.var["connections_" .. state])
    end
    table.sort(lines)
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
