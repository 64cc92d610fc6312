#include "etc-files.h"

#include <fcntl.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <unistd.h>

#include "file-access.h"

namespace orch::runtime {

namespace {

constexpr kj::StringPtr STANDARD_HOSTS =
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"_kj;

template <typename F>
void forEachLine(kj::StringPtr text, F&& use) {
  while (text.size() > 0) {
    size_t end = text.size();
    KJ_IF_MAYBE (newline, text.findFirst('\n')) end = *newline;
    auto line = kj::heapString(text.begin(), end);
    use(kj::StringPtr(line));
    text = text.slice(end < text.size() ? end + 1 : end);
  }
}

bool isLoopbackServer(kj::StringPtr line) {
  return line.startsWith("nameserver 127.") || line.startsWith("nameserver ::1");
}

}  // namespace

kj::String hostsText(schema::ContainerRequest::Reader request, kj::StringPtr hostname,
                     kj::StringPtr hostsFile) {
  kj::Vector<kj::String> lines;
  bool ofHost = request.getNetwork().isHost();
  lines.add(kj::str(ofHost ? hostsFile : STANDARD_HOSTS));
  if (lines[0].size() > 0 && !lines[0].endsWith("\n")) lines.add(kj::str("\n"));
  for (auto entry : request.getSpec().getHosts()) {
    KJ_IF_MAYBE (colon, entry.findFirst(':')) {
      lines.add(
          kj::str(entry.slice(*colon + 1), "\t", kj::heapString(entry.begin(), *colon), "\n"));
    }
  }
  for (auto address : request.getAddresses()) {
    // A leg may be written with its prefix length.
    auto end = address.findFirst('/').orDefault(address.size());
    lines.add(kj::str(kj::heapString(address.begin(), end), "\t", hostname, "\n"));
  }
  return kj::strArray(lines, "");
}

kj::String resolvText(schema::ContainerRequest::Reader request, kj::StringPtr resolvFile) {
  auto spec = request.getSpec();
  kj::Vector<kj::String> lines;
  bool ofHost = request.getNetwork().isHost();
  forEachLine(resolvFile, [&](kj::StringPtr line) {
    bool given = (line.startsWith("nameserver") && spec.getDns().size() > 0) ||
                 (line.startsWith("search") && spec.getDnsSearch().size() > 0) ||
                 (line.startsWith("domain") && spec.getDnsSearch().size() > 0) ||
                 (line.startsWith("options") && spec.getDnsOptions().size() > 0);
    bool useless = !ofHost && isLoopbackServer(line);
    if (!given && !useless) lines.add(kj::str(line, "\n"));
  });
  for (auto server : spec.getDns()) lines.add(kj::str("nameserver ", server, "\n"));
  if (spec.getDnsSearch().size() > 0) {
    lines.add(kj::str("search ", kj::strArray(spec.getDnsSearch(), " "), "\n"));
  }
  if (spec.getDnsOptions().size() > 0) {
    lines.add(kj::str("options ", kj::strArray(spec.getDnsOptions(), " "), "\n"));
  }
  return kj::strArray(lines, "");
}

kj::String hostResolvConf() {
  auto text = readSmallFile("/etc/resolv.conf");
  bool onlyStub = false;
  forEachLine(text, [&](kj::StringPtr line) {
    if (line.startsWith("nameserver 127.0.0.53")) onlyStub = true;
  });
  if (!onlyStub) return text;
  auto real = readSmallFile("/run/systemd/resolve/resolv.conf");
  return real.size() > 0 ? kj::mv(real) : kj::mv(text);
}

kj::String readSmallFile(kj::StringPtr path) {
  int fd = open(path.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return kj::String();
  kj::AutoCloseFd owned(fd);
  kj::Vector<char> text;
  char buffer[4096];
  while (text.size() < MAX_FILE_BYTES) {
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n <= 0) break;
    text.addAll(buffer, buffer + n);
  }
  text.add('\0');
  return kj::String(text.releaseAsArray());
}

}  // namespace orch::runtime
