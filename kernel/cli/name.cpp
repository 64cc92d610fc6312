#include "name.h"

#include <signal.h>
#include <string.h>

#include <cctype>
#include <string>
#include <string_view>

#include "suggest.h"
#include "value.h"

namespace orch::cli {

namespace {

// capabilities(7), up to Linux 5.9, which added the last one.
constexpr kj::StringPtr CAPABILITIES[] = {
    "ALL"_kj,
    "AUDIT_CONTROL"_kj,
    "AUDIT_READ"_kj,
    "AUDIT_WRITE"_kj,
    "BLOCK_SUSPEND"_kj,
    "BPF"_kj,
    "CHECKPOINT_RESTORE"_kj,
    "CHOWN"_kj,
    "DAC_OVERRIDE"_kj,
    "DAC_READ_SEARCH"_kj,
    "FOWNER"_kj,
    "FSETID"_kj,
    "IPC_LOCK"_kj,
    "IPC_OWNER"_kj,
    "KILL"_kj,
    "LEASE"_kj,
    "LINUX_IMMUTABLE"_kj,
    "MAC_ADMIN"_kj,
    "MAC_OVERRIDE"_kj,
    "MKNOD"_kj,
    "NET_ADMIN"_kj,
    "NET_BIND_SERVICE"_kj,
    "NET_BROADCAST"_kj,
    "NET_RAW"_kj,
    "PERFMON"_kj,
    "SETFCAP"_kj,
    "SETGID"_kj,
    "SETPCAP"_kj,
    "SETUID"_kj,
    "SYSLOG"_kj,
    "SYS_ADMIN"_kj,
    "SYS_BOOT"_kj,
    "SYS_CHROOT"_kj,
    "SYS_MODULE"_kj,
    "SYS_NICE"_kj,
    "SYS_PACCT"_kj,
    "SYS_PTRACE"_kj,
    "SYS_RAWIO"_kj,
    "SYS_RESOURCE"_kj,
    "SYS_TIME"_kj,
    "SYS_TTY_CONFIG"_kj,
    "WAKE_ALARM"_kj,
};

bool isAlnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

}  // namespace

kj::String parseServiceName(kj::StringPtr flag, kj::StringPtr text) {
  bool good = text.size() >= 1 && text.size() <= 63 && isAlnum(text[0]);
  for (char c : text) good &= isAlnum(c) || c == '_' || c == '.' || c == '-';
  if (!good) {
    badValue(flag, text,
             "1 to 63 letters, digits, '_', '.' and '-', of which the first is a letter or digit");
  }
  return kj::str(text);
}

kj::String parseHostname(kj::StringPtr flag, kj::StringPtr text) {
  bool good = text.size() >= 1 && text.size() <= 63;
  char before = '.';
  for (char c : text) {
    good &=
        isAlnum(c) || (c == '-' && before != '.') || (c == '.' && before != '.' && before != '-');
    before = c;
  }
  if (!good || before == '-' || before == '.') {
    badValue(flag, text, "at most 63 letters, digits, '-' and '.'");
  }
  return kj::str(text);
}

kj::String parseCapability(kj::StringPtr flag, kj::StringPtr text) {
  auto name = kj::str(text);
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  kj::StringPtr bare = name;
  if (bare.startsWith("CAP_")) bare = bare.slice(4);
  for (kj::StringPtr known : CAPABILITIES) {
    if (known == bare) return kj::str(bare);
  }
  badValue(flag, text,
           kj::str("a capability such as NET_ADMIN, or ALL", suggestion(bare, CAPABILITIES)));
}

kj::String parseSignal(kj::StringPtr flag, kj::StringPtr text) {
  static constexpr kj::StringPtr EXPECTED = "a signal such as SIGTERM, TERM, SIGRTMIN+3 or 15"_kj;
  uint64_t number;
  if (readDigits({text.begin(), text.size()}, number)) {
    if (number < 1 || number > 64) badValue(flag, text, EXPECTED);
    return kj::str(text);
  }
  std::string name;
  for (char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string_view bare = name;
  if (bare.substr(0, 3) == "SIG") bare.remove_prefix(3);
  for (int i = 1; i < 32; ++i) {
    const char* known = sigabbrev_np(i);
    if (known != nullptr && bare == known) return kj::str(text);
  }
  if (bare == "IO" || bare == "IOT") return kj::str(text);  // glibc calls them POLL and ABRT
  bool realTime = bare == "RTMIN" || bare == "RTMAX";
  if (bare.substr(0, 6) == "RTMIN+" || bare.substr(0, 6) == "RTMAX-") {
    realTime = readDigits(bare.substr(6), number) && number <= 30;
  }
  if (!realTime) badValue(flag, text, EXPECTED);
  return kj::str(text);
}

kj::String parsePath(kj::StringPtr flag, kj::StringPtr text) {
  if (!text.startsWith("/")) badValue(flag, text, "an absolute path");
  return kj::str(text);
}

kj::String parseWord(kj::StringPtr flag, kj::StringPtr text, kj::StringPtr expected) {
  bool good = text.size() > 0;
  for (char c : text) good &= static_cast<unsigned char>(c) > ' ' && c != 0x7f;
  if (!good) badValue(flag, text, expected);
  return kj::str(text);
}

}  // namespace orch::cli
