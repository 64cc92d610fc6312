#include "logins.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include "orch/attempt.h"
#include "orch/testing/test-host.h"
#include "recording-server.h"

namespace orch::cli {
namespace {

std::string passwordFor(kj::StringPtr image) {
  capnp::MallocMessageBuilder message;
  auto login = message.initRoot<schema::RegistryLogin>();
  if (!findLogin(image, login)) return "";
  return kj::str(login.getRegistry(), " ", login.getUser(), " ", login.getPassword()).cStr();
}

void keep(kj::StringPtr registry, kj::StringPtr password) {
  capnp::MallocMessageBuilder message;
  auto login = message.initRoot<schema::RegistryLogin>();
  login.setRegistry(registry);
  login.setUser("ann");
  login.setPassword(password);
  keepLogin(login);
}

TEST_CASE("cli: logins are kept by registry, for nobody else to read", "[cli]") {
  testing::TestFolder folder("cli-logins");
  setenv("XDG_CONFIG_HOME", folder.sub("config").cStr(), 1);
  CHECK(passwordFor("nginx") == "");
  CHECK_FALSE(dropLogin("docker.io"));
  keep("docker.io", "one two\n\xc3\xa4");
  keep("registry:5000", "three");
  CHECK(passwordFor("nginx") == "docker.io ann one two\n\xc3\xa4");
  CHECK(passwordFor(kj::str("registry:5000/team/app@sha256:", std::string(64, 'a').c_str())) ==
        "registry:5000 ann three");
  CHECK(passwordFor("other.example.com/app") == "");
  CHECK(passwordFor("No/Name") == "");
  struct stat info;
  REQUIRE(stat(loginsPath().cStr(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  keep("registry:5000", "four");
  CHECK(dropLogin("docker.io"));
  CHECK(passwordFor("nginx") == "");
  CHECK(passwordFor("registry:5000/app") == "registry:5000 ann four");

  chmod(loginsPath().cStr(), 0644);
  auto open = attemptNow([&] { passwordFor("nginx"); });
  REQUIRE_FALSE(open.ok());
  CHECK(open.message() ==
        kj::str("others can read the passwords in '", loginsPath(), "'; chmod 600 it"));
  unsetenv("XDG_CONFIG_HOME");
}

TEST_CASE("cli: a registry is what names of images begin with", "[cli]") {
  for (auto good : {"docker.io", "registry.example.com", "host:5000", "127.0.0.1:5000"}) {
    CHECK(parseRegistry(good) == good);
  }
  CHECK(parseRegistry("https://index.docker.io/v1/") == "docker.io");
  for (auto bad :
       {"", "host", "https://registry.example.com", "registry.example.com/team", "a b"}) {
    INFO(bad);
    CHECK_FALSE(attemptNow([&] { parseRegistry(bad); }).ok());
  }
}

TEST_CASE("cli: --with-registry-auth sends the login of the image's registry", "[cli]") {
  testing::TestFolder folder("cli-auth");
  auto variable = kj::str("XDG_CONFIG_HOME=", folder.path());
  setenv("XDG_CONFIG_HOME", folder.path().cStr(), 1);
  keep("docker.io", "sesame");
  unsetenv("XDG_CONFIG_HOME");
  RecordingServer server;
  auto run = [&](Words words) { return server.run(kj::mv(words), {variable.cStr()}); };
  REQUIRE(run(create({"-d"})).status == 0);
  CHECK(server.lastLogin == "");
  auto updated = run({"service", "update", "-d", "--with-registry-auth", "web"});
  CHECK(updated.status == 0);
  CHECK(updated.errors == "");
  CHECK(server.lastLogin == "docker.io ann sesame");
  auto other =
      run({"service", "update", "-d", "--with-registry-auth", "--image", "host:5000/x", "web"});
  CHECK(other.status == 0);
  CHECK(other.errors ==
        "orch: warning: there is no login for the registry of 'host:5000/x'; "
        "'orch login' makes one\n");
  CHECK(server.lastLogin == "");
}

TEST_CASE("cli: login and logout", "[cli]") {
  testing::TestFolder folder("cli-login");
  auto variable = kj::str("HOME=", folder.path());
  RecordingServer server;
  auto run = [&](Words words) { return server.run(kj::mv(words), {variable.cStr()}); };
  auto refused = [&](Words words, int status, const std::string& text) {
    auto ran = run(kj::mv(words));
    CHECK(ran.status == status);
    CHECK(ran.errors == "orch: " + text + "\n");
  };
  refused({"login", "-u", "ann"}, 2,
          "there is no terminal to ask for the password: orch login -u ann --password-stdin "
          "docker.io < FILE");
  refused({"login", "--password-stdin"}, 2, "say with --username who logs in");
  refused({"login", "-u", "a:b", "--password-stdin"}, 2,
          "invalid value 'a:b' for --username: expected a name without ':'");
  refused({"login", "-u", "ann", "--password-stdin"}, 2, "there is no password on stdin");
  refused({"login", "-u", "ann", "-p", "sesame", "--password-stdin"}, 2,
          "--password and --password-stdin exclude each other");
  // Its environment has no PATH.
  auto without = run({"login", "-u", "ann", "-p", "sesame", "host:5000"});
  CHECK(without.status == 1);
  CHECK(has(without.errors, "orch: warning: others can see a password on a command line"));
  CHECK(has(without.errors, "orch: cannot log in at 'host:5000': "));
  refused({"logout", "host:5000"}, 1, "there is no login for host:5000");
  CHECK(server.calls.empty());
}

}  // namespace
}  // namespace orch::cli
