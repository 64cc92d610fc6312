// A store and a registry of a test's own.
#pragma once

#include <kj/async-io.h>
#include <kj/exception.h>

#include <string>
#include <vector>

#include "image-store.h"

namespace orch::testing {
class TestFolder;
class TestHost;
}  // namespace orch::testing

namespace orch::image::oci::test {

// A store with a loop, a host and a folder of its own.
class TestStore final {
 public:
  explicit TestStore(kj::StringPtr name, std::string root = "");
  ~TestStore() noexcept(false);
  // As after a restart of the plugin.
  void restart();
  void stop();
  std::string path() const;
  std::string sub(const std::string& name) const { return path() + "/" + name; }
  std::string root() const { return settings.root; }

  kj::Promise<std::string> ensureLater(const std::string& reference, const std::string& holder,
                                       kj::Maybe<schema::Progress::Client> progress = nullptr);
  // The id.
  std::string ensure(const std::string& reference, const std::string& holder);
  std::vector<std::string> import(const std::string& path, const std::string& reference = "");
  std::vector<std::string> layersOf(const std::string& reference);
  size_t eventsOf(const std::string& topic) const;
  // The error's text; empty if there was none.
  template <typename F>
  std::string errorOf(F&& run);

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<testing::TestFolder> folder;
  kj::Own<Env> env;
  StoreSettings settings;
  kj::Own<testing::TestHost> testHost;
  kj::Own<Host> host;
  kj::Own<ImageStore> store;
  kj::Maybe<schema::ImageStore::Client> client;
  schema::ImageStore::Client& service() { return KJ_ASSERT_NONNULL(client); }
};

// Fails the test if the store's folders hold anything.
void checkNothingLeft(TestStore& test);

// Debian's docker-registry on a loopback port of its own.
class TestRegistry final {
 public:
  // Where `passwords` are given, as htpasswd's lines, it asks for a login.
  explicit TestRegistry(TestStore& store, const std::string& passwords = "");
  ~TestRegistry() noexcept(false);
  // `127.0.0.1:12345`
  std::string address;
  // `format`: of the manifest, `oci` or `v2s2`; `list`: of all processors.
  void push(const std::string& layout, const std::string& name, const char* format = "oci",
            bool list = false);
  std::string login;  // of who pushes: `user:password`

 private:
  TestStore& store;
  kj::Own<Process> process;
  kj::Own<kj::AsyncInputStream> log;
  kj::Promise<void> draining = nullptr;
};

template <typename F>
std::string TestStore::errorOf(F&& run) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { run(); })) {
    std::string text = exception->getDescription().cStr();
    return text.substr(text.rfind("remote exception: ") == std::string::npos
                           ? 0
                           : text.rfind("remote exception: ") + 18);
  }
  return "";
}

}  // namespace orch::image::oci::test
