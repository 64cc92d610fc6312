// `--external-ca protocol=cfssl,url=…[,cacert=FILE]`, as docker's.
#pragma once

#include <string>

#include "arguments.h"
#include "commands.h"
#include "orch/schema/objects.capnp.h"
#include "orch/task.h"

namespace orch::cli {

struct ExternalCa {
  kj::String protocol, url;
  std::string certificate;  // PEM; empty: it is asked for at `url`

  void fill(schema::ExternalAuthority::Builder to) const;
};

inline constexpr Option EXTERNAL_CA_OPTION = {
    "--external-ca", "SPEC",
    "Who signs certificates, as protocol=cfssl,url=https://ca.example.com:8888,cacert=FILE; FILE "
    "is "
    "the certificate of that authority, in PEM"};

// Nothing if the flag is not given. Fails with what is accepted.
kj::Maybe<ExternalCa> externalCaOf(const Arguments& args);
// The cluster's authority stays, and it is another server that has its key. Fails if it has not.
Task<void> signThere(Context& context, ExternalCa ca);

}  // namespace orch::cli
