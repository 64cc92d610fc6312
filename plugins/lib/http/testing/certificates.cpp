#include "http/testing/certificates.h"

#include <kj/debug.h>

#include <fstream>

namespace orch::http {

Certificates::Certificates(Env& env, kj::WaitScope& scope, kj::StringPtr testName)
    : env(env), scope(scope), folder(kj::str(testName, "-certificates")) {
  authority("ca");
  authority("stranger");
}

void Certificates::sign(const std::string& name, const std::string& names, int days) {
  run({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
       "/CN=" + name, "-keyout", file(name + ".key"), "-out", file(name + ".csr")});
  std::ofstream(file(name + ".ext"))
      << "subjectAltName=" << names << "\nextendedKeyUsage=serverAuth,clientAuth\n";
  run({"x509", "-req", "-in", file(name + ".csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"),
       "-CAcreateserial", "-days", std::to_string(days), "-extfile", file(name + ".ext"), "-out",
       file(name + ".pem")});
}

void Certificates::authority(const std::string& name) {
  run({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
       "/CN=" + name, "-days", "1", "-keyout", file(name + ".key"), "-out", file(name + ".pem")});
}

void Certificates::run(const std::vector<std::string>& words) {
  ProcessSpec spec;
  spec.argv.add(kj::str("openssl"));
  for (auto& word : words) spec.argv.add(kj::str(word.c_str()));
  auto result = env.command(kj::mv(spec)).wait(scope);
  KJ_REQUIRE(result.status == 0, result.errors);
}

}  // namespace orch::http
