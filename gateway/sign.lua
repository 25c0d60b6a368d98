-- Signs requests to S3 by Signature Version 4, for buckets that let nobody read without an account.
-- https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
local ffi = require "ffi"

-- nginx is linked to OpenSSL, so that its functions are there already.
ffi.cdef [[
    typedef struct evp_md_st EVP_MD;
    const EVP_MD *EVP_sha256(void);
    unsigned char *HMAC(const EVP_MD *evp_md, const void *key, int key_len, const unsigned char *d, size_t n,
                        unsigned char *md, unsigned int *md_len);
    unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
]]

local SIZE = 32
local SIGNED = "host;x-amz-content-sha256;x-amz-date"
-- A request without a body; its transport is what protects it.
local PAYLOAD = "UNSIGNED-PAYLOAD"

local buffer = ffi.new("unsigned char[?]", SIZE)

local function hmac(key, text)
    ffi.C.HMAC(ffi.C.EVP_sha256(), key, #key, text, #text, buffer, nil)
    return ffi.string(buffer, SIZE)
end

local function hex(bytes)
    return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

-- Digests are in lower-case hexadecimal.
local function sha256(text)
    ffi.C.SHA256(text, #text, buffer)
    return hex(ffi.string(buffer, SIZE))
end

local account, secret, region = os.getenv("AWS_ACCESS_KEY_ID"), os.getenv("AWS_SECRET_ACCESS_KEY"), os.getenv("AWS_REGION")
local day, key

-- The key of a day, made once.
local function key_of(date)
    if date ~= day then
        key = hmac(hmac(hmac(hmac("AWS4" .. secret, date), region), "s3"), "aws4_request")
        day = date
    end
    return key
end

local sign = {sha256 = sha256}

sign.hmac, sign.hex = hmac, hex

-- Sets the variables $authorization, $amz_date and $amz_content for a request of this method for this path, whose
-- characters all stand for themselves in a URL. Without an account they stay empty, and nginx sends no such headers.
function sign.request(method, host, path)
    if not account or account == "" then
        return
    end
    local time = ngx.utctime():gsub("[-:]", ""):gsub(" ", "T") .. "Z"
    local date = time:sub(1, 8)
    local scope = date .. "/" .. region .. "/s3/aws4_request"
    local headers = "host:" .. host .. "\nx-amz-content-sha256:" .. PAYLOAD .. "\nx-amz-date:" .. time .. "\n"
    local request = table.concat({method, path, "", headers, SIGNED, PAYLOAD}, "\n")
    local text = table.concat({"AWS4-HMAC-SHA256", time, scope, sha256(request)}, "\n")
    ngx.var.amz_date, ngx.var.amz_content = time, PAYLOAD
    ngx.var.authorization = "AWS4-HMAC-SHA256 Credential=" .. account .. "/" .. scope .. ", SignedHeaders=" .. SIGNED
        .. ", Signature=" .. hex(hmac(key_of(date), text))
end

return sign
