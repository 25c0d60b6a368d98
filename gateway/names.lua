-- Stable names: URLs that stay, while what they lead to changes. mediaasset/pointers.py says what a pointer is; standalone
-- answers by that, and one suite of tests holds both to the same.
local sign = require "sign"

-- Of a single file; any other key is the index of a directory.
local SINGLE = [[-[0-9a-f]{16}\.[a-z0-9]{1,8}\z]]

-- Returns the key that answers, nil for none. The files of a directory refer to each other by relative names, so one
-- answers under the name of a file only.
local function target(pointer, rendition, file)
    local key
    if rendition then
        local _, last = pointer:find("\n" .. rendition .. " ", 1, true)
        key = last and pointer:match("^[^\n]+", last + 1)
    else
        key = pointer:match("\n[^ \n]+ ([^\n]+)")
    end
    -- It names public renditions and nothing else; that it is one, the location of renditions decides.
    if not key or not key:find("^media/[%w._/-]+$") or key:find("..", 1, true) then
        return nil
    end
    if ngx.re.find(key, SINGLE, "jo") then
        return not file and key or nil
    end
    return file and key:gsub("[^/]+$", file) or nil
end

local names = {}

-- Answers a request by the pointer of this kind, `names` or `paths`, for what stands in its URL after /media/.
function names.serve(kind, name, rendition, file)
    -- A key that was in a pointer and is no rendition would come round.
    if ngx.req.is_internal() then
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
    local found = ngx.location.capture("/-/pointer/." .. kind .. "/" .. sign.sha256(name))
    if found.status == ngx.HTTP_OK then
        local key = target(found.body, rendition, file ~= "" and file or nil)
        if key then
            return ngx.exec("/" .. key)
        end
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
    if found.status == ngx.HTTP_NOT_FOUND or found.status == ngx.HTTP_FORBIDDEN then
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
    return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)
end

return names
