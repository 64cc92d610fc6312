// For tests: a certificate of `localhost` that signed itself, valid from 2020 until 2120, and its
// key. Nobody trusts it but those tests.
#pragma once

namespace orch::discovery {

inline constexpr const char* LOCALHOST_CERTIFICATE = R"(-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIUHZRBn+bdKCq0z1EoVWegKeica5YwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAScWNE+jtaIunGXmQ6xyH169ZTUvki1v2ioX/vTlACAzn5ppQsepl+O
3hdlm+MQ2h+8d/eX8PfiyyY+i52oosjZo0gwRjAUBgNVHREEDTALgglsb2NhbGhv
c3QwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUgTBKeysfHS54Sqh+T2CqZDT5
LV4wCgYIKoZIzj0EAwIDSAAwRQIgHdqhnaygh+bxsujyxMQH56/oqyvzn0qpWaYj
vuSeQ+ICIQDyQSQ5ndK2IhOgFdyaBcOL3Nt4CIEVg6J/z9PjZWoKoQ==
-----END CERTIFICATE-----
)";

inline constexpr const char* LOCALHOST_KEY = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXcT2vgoVpQKtTTbr
XtGdTxiHee9tESiWpRAxp0IyGE2hRANCAAScWNE+jtaIunGXmQ6xyH169ZTUvki1
v2ioX/vTlACAzn5ppQsepl+O3hdlm+MQ2h+8d/eX8PfiyyY+i52oosjZ
-----END PRIVATE KEY-----
)";

}  // namespace orch::discovery
