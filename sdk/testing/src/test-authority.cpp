#include "orch/testing/test-authority.h"

#include <kj/debug.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace orch::testing {

namespace {

void openssl(const std::string& arguments) {
  auto command = "openssl " + arguments + " 2>/dev/null";
  KJ_REQUIRE(std::system(command.c_str()) == 0, command.c_str());
}
std::string readText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}
void writeText(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TestAuthority::TestAuthority(TestFolder& folder, const std::string& name)
    : base(folder.sub(name.c_str()).cStr()) {
  openssl("ecparam -name prime256v1 -genkey -noout -out " + base + ".key");
  openssl("req -x509 -new -days 30 -subj /O=orch/CN=" + name + " -key " + base + ".key -out " +
          base + ".pem");
}

std::string TestAuthority::certificate() const { return readText(base + ".pem"); }

std::string TestAuthority::sign(const std::string& request, const std::string& unit,
                                const std::string& id, const std::string& name, int days) {
  auto file = base + "-" + std::to_string(++count);
  writeText(file + ".csr", request);
  writeText(file + ".ext", "subjectAltName=DNS:" + name + "\n");
  openssl("x509 -req -in " + file + ".csr -subj /O=orch/OU=" + unit + "/CN=" + id + " -CA " + base +
          ".pem -CAkey " + base + ".key -days " + std::to_string(days) + " -extfile " + file +
          ".ext -out " + file + ".pem");
  return readText(file + ".pem");
}

}  // namespace orch::testing
