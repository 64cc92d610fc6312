#include "etc-files.h"

#include <fcntl.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

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

// `nameserver 10.0.0.1 # ours`: the words of a line, up to the first comment. As glibc reads it: a
// keyword begins the line, spaces and tabs separate.
std::vector<std::string> wordsOf(kj::StringPtr line) {
  std::vector<std::string> words;
  if (line.startsWith(" ") || line.startsWith("\t")) return words;
  std::istringstream stream(line.cStr());
  for (std::string word; stream >> word;) {
    if (word[0] == '#' || word[0] == ';') break;
    words.push_back(word);
  }
  return words;
}

// A network of the container's own has neither the host's loopback nor, so far, IPv6. 0.0.0.0 is
// the host itself to a resolver.
bool isOutOfReach(const std::string& server) {
  return server.find(':') != std::string::npos || server.rfind("127.", 0) == 0 ||
         server == "0.0.0.0";
}

// The root alone says "no search list", in docker's words and in systemd's; to musl it is a domain.
void addSearch(kj::Vector<kj::String>& lines, const std::vector<std::string>& domains) {
  kj::String list;
  for (auto& domain : domains) {
    if (domain != ".") list = kj::str(list, " ", domain.c_str());
  }
  if (list.size() > 0) lines.add(kj::str("search", list, "\n"));
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
    auto words = wordsOf(line);
    std::string key = words.empty() ? "" : words[0];
    if (key == "nameserver") {
      bool usable = words.size() > 1 && (ofHost || !isOutOfReach(words[1]));
      if (usable && spec.getDns().size() == 0) lines.add(kj::str(line, "\n"));
    } else if (key == "search" || key == "domain") {
      if (spec.getDnsSearch().size() == 0) addSearch(lines, {words.begin() + 1, words.end()});
    } else if (key != "options" || spec.getDnsOptions().size() == 0) {
      lines.add(kj::str(line, "\n"));
    }
  });
  for (auto server : spec.getDns()) lines.add(kj::str("nameserver ", server, "\n"));
  std::vector<std::string> domains;
  for (auto domain : spec.getDnsSearch()) domains.push_back(domain.cStr());
  addSearch(lines, domains);
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
