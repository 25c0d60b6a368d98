-- Lets those in who have a signed URL of a private rendition: mediaasset/signing.py makes them, and says how.
local sign = require "sign"
local ffi = require "ffi"

ffi.cdef "int CRYPTO_memcmp(const void *a, const void *b, size_t len);"

-- As in mediaasset/signing.py.
local VERSION = "media-operator-1"
local IN_TREE = "^(.*/[a-z][a-z0-9-]*%-" .. ("[0-9a-f]"):rep(16) .. "/)[^/]+$"
local SIGNATURE_LENGTH = 43

local PROBLEM = '{"type":"urn:media-operator:problem:%s","title":"%s","status":403,"detail":"%s"}'
local INVALID = PROBLEM:format("signature-invalid", "The signature is not valid",
    "The URL is not signed, or was changed: ask the API for a new one.")
local EXPIRED = PROBLEM:format("url-expired", "The time of the URL is over", "Ask the API for a new URL.")

-- The secrets by their ids.
local secrets = {}
for _, name in ipairs {"GATEWAY_SIGNING_KEY", "GATEWAY_SIGNING_PREVIOUS_KEY"} do
    local secret = os.getenv(name)
    if secret and secret ~= "" then
        secrets[sign.hex(sign.hmac(secret, VERSION .. " key id")):sub(1, 8)] = secret
    end
end

local private = {}

local function refuse(problem)
    if not next(secrets) then
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
    ngx.var.refusal = problem
    return ngx.exec("@refused")
end

-- Answers what has no token, whether it is there or not.
function private.refuse()
    return refuse(INVALID)
end

-- Goes on with a request whose token ($expires, $key_id, $signature) is for the key private/$name and for the file name
-- of a download; sets $lifetime to the seconds that are left. Answers any other one.
function private.check()
    local var = ngx.var
    local secret = secrets[var.key_id]
    if not secret then
        return refuse(INVALID)
    end
    local key = "private/" .. var.name
    local text = table.concat({VERSION, var.expires, key:match(IN_TREE) or key, var.arg_download or ""}, "\n")
    local wanted = ngx.encode_base64(sign.hmac(secret, text), true):gsub("+", "-"):gsub("/", "_")
    if ffi.C.CRYPTO_memcmp(wanted, var.signature, SIGNATURE_LENGTH) ~= 0 then
        return refuse(INVALID)
    end
    local left = tonumber(var.expires) - ngx.time()
    if left <= 0 then
        return refuse(EXPIRED)
    end
    var.lifetime = left
    -- What is not in the table is never served.
    if var.media_type == "" then
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
end

return private
