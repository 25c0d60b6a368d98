-- Keeps connections to the store. nginx keeps none to a name that it asks DNS for itself, so now and then a request goes by
-- the name, which finds a server that moves, and those after it go where that one went.
local balancer = require "ngx.balancer"
-- Of all workers, so that what one finds out holds for the others.
local shared = ngx.shared.store

local SECONDS = 5

local store = {}

-- Returns the server to ask: kept_store, for which store.connect() is asked, or the one of this name.
function store.server(name)
    ngx.ctx.address = shared:get("address")
    return ngx.ctx.address and "kept_store" or name
end

-- Says where a connection goes that is not there yet.
function store.connect()
    local host, port = ngx.ctx.address:match("^(.*):(%d+)$")
    assert(balancer.set_current_peer(host, tonumber(port)))
end

-- Learns from a request that is over. A server that did not answer is looked for by its name again.
function store.learn()
    local var = ngx.var
    local status = (var.upstream_status or ""):match("(%d+)$")
    if status == "502" or status == "504" then
        shared:delete("address")
    elseif status and var.store ~= "kept_store" then
        shared:set("address", var.upstream_addr:match("([^%s,]+)$"), SECONDS)
    end
end

return store
