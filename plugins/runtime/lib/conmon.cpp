#include "conmon.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "orch/fail.h"

namespace orch::runtime {

namespace {

constexpr int SYNC_FD = 3;
constexpr size_t MAX_SYNC_BYTES = 64 << 10;

ProcessSpec conmonSpec(const Layout& layout, const Options& options, kj::StringPtr id,
                       Stdio stdio) {
  std::string name = id.cStr();
  ProcessSpec spec;
  auto add = [&](auto&&... parts) { spec.argv.add(kj::str(parts...)); };
  add(options.conmon.c_str());
  add("--api-version"), add("1");
  add("-c"), add(id);
  add("-u"), add(id);
  add("-n"), add(id);
  add("-r"), add(options.program.c_str());
  add("--runtime-arg"), add("--root");
  add("--runtime-arg"), add(layout.runtimeState().c_str());
  add("-b"), add(layout.bundle(name).c_str());
  add("-p"), add(layout.pidFile(name).c_str());
  add("--exit-dir"), add(layout.exits().c_str());
  add("-l"), add("k8s-file:", layout.log(name).c_str());
  add("--log-level"), add("error");
  add("--full-attach");  // keeps the attach socket in the bundle
  // A log that is lost with the node's power is not worth a sync at each end of a container.
  add("--no-sync-log");
  if (stdio.terminal) add("-t");
  if (stdio.input) add("-i"), add("--leave-stdin-open");
  spec.env.add(kj::str("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  spec.env.add(kj::str("TZ=UTC"));  // of the time stamps in the log
  spec.env.add(kj::str("_OCI_SYNCPIPE=", SYNC_FD));
  spec.cwd = kj::str(layout.bundle(name).c_str());
  spec.newSession = true;
  return spec;
}

Task<kj::String> readLine(kj::Own<kj::AsyncInputStream> stream) {
  kj::Vector<char> text;
  char buffer[4096];
  while (text.size() < MAX_SYNC_BYTES) {
    size_t n = co_await stream->tryRead(buffer, 1, sizeof(buffer));
    text.addAll(buffer, buffer + n);
    if (n == 0 || text.back() == '\n') break;
  }
  text.add('\0');
  co_return kj::String(text.releaseAsArray());
}

}  // namespace

Task<int> createWithConmon(Env& env, const Layout& layout, const Options& options, kj::String id,
                           Stdio stdio) {
  auto sync = env.newChildPipe();
  auto spec = conmonSpec(layout, options, id, stdio);
  spec.fds.add(ProcessSpec::Fd{SYNC_FD, sync.writeEnd});
  auto process = co_await env.processes().spawn(kj::mv(spec));
  sync.writeEnd = nullptr;
  auto line = co_await readLine(kj::mv(sync.stream));
  co_return pidFromSync(line, options.name.c_str());
}

kj::String runtimesWords(kj::StringPtr log) {
  std::string text = log.cStr();
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  text.erase(0, text.rfind('\n') + 1);
  constexpr std::string_view MESSAGE = " msg=\"";
  if (size_t at = text.find(MESSAGE); text.compare(0, 5, "time=") == 0 && at != std::string::npos) {
    // A JSON string, as far as logrus writes one.
    size_t end = text.size() > at + MESSAGE.size() && text.back() == '"' ? text.size() - 1 : 0;
    std::string words;
    for (size_t i = at + MESSAGE.size(); i < end; ++i) {
      if (text[i] == '\\' && i + 1 < end) ++i;
      words += text[i];
    }
    if (!words.empty()) text = words;
  } else if (size_t colon = text.find("Z: "); colon < 40) {
    text.erase(0, colon + 3);
  }
  for (auto& c : text) c = c == '\n' || c == '\t' ? ' ' : c;
  return kj::str(text.c_str());
}

int pidFromSync(kj::StringPtr line, kj::StringPtr runtimeName) {
  auto sync = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
  if (sync.is_object()) {
    int pid = sync.value("data", -1);
    if (pid > 0) return pid;
    auto words = runtimesWords(sync.value("message", std::string()).c_str());
    if (words.size() > 0) fail(kj::str(runtimeName, " cannot create the container: ", words));
  }
  fail(kj::str(runtimeName, " cannot create the container: conmon ended without saying why"));
}

namespace {
bool tellConmon(const std::string& pipe, const std::string& words, bool unlessPending) {
  int fd = open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  kj::AutoCloseFd owned(fd);
  int pending = 0;
  if (unlessPending && ioctl(fd, FIONREAD, &pending) == 0 && pending > 0) return true;
  return write(fd, words.data(), words.size()) == ssize_t(words.size());
}
}  // namespace

bool reopenLog(const std::string& bundle) { return tellConmon(bundle + "/ctl", "2 0 0\n", true); }

bool resizeTerminal(const std::string& bundle, uint16_t rows, uint16_t columns) {
  auto words = std::to_string(rows) + " " + std::to_string(columns) + "\n";
  return tellConmon(bundle + "/winsz", words, false);
}

kj::AutoCloseFd connectToConmon(const std::string& bundle) {
  // The path itself may be longer than an address may.
  int folder = open(bundle.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail(kj::str("the container's folder '", bundle.c_str(), "' is not there"));
  kj::AutoCloseFd ownedFolder(folder);
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  kj::AutoCloseFd owned(fd);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/attach", folder);
  auto where = reinterpret_cast<const sockaddr*>(&address);
  if (connect(fd, where, sizeof(address)) != 0) {
    fail(kj::str("cannot reach the container's conmon: ", strerror(errno)));
  }
  return owned;
}

}  // namespace orch::runtime
