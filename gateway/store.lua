-- Keeps connections to the store. nginx keeps none to a name that it asks DNS for itself, so now and then a request goes by
-- the name, which finds a server that moves, and those after it go where that one went.
local balancer = require "ngx.balancer"

local SECONDS = 5

-- The address that the last request by name went to, and when.
local address, port, since

local store = {}

-- Returns the server to ask: kept_store, for which store.connect() is asked, or the one of this name.
function store.server(name)
    return since and ngx.now() - since < SECONDS and "kept_store" or name
end

-- Says where a connection goes that is not there yet.
function store.connect()
    assert(balancer.set_current_peer(address, port))
end

-- Learns from a request that is over. A server that did not answer is looked for by its name again.
function store.learn()
    local var = ngx.var
    local status = tonumber((var.upstream_status or ""):match("(%d+)$"))
    if not status then
        return
    elseif status == 502 or status == 504 then
        since = nil
    elseif var.store ~= "kept_store" then
        local host, number = var.upstream_addr:match("([^%s,]+):(%d+)$")
        address, port, since = host, tonumber(number), ngx.now()
    end
end

return store
