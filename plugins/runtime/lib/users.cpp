#include "users.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "orch/fail.h"

namespace orch::runtime {

namespace {

using std::string_view;

string_view view(kj::StringPtr text) { return string_view(text.begin(), text.size()); }

// Without the spaces at both ends, which some tools write and docker ignores.
string_view trimmed(string_view line) {
  constexpr string_view SPACE = " \t\r\f\v";
  size_t begin = line.find_first_not_of(SPACE);
  if (begin == string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(SPACE) - begin + 1);
}

std::vector<string_view> split(string_view text, char separator) {
  std::vector<string_view> parts;
  for (;;) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

kj::Maybe<uint32_t> number(string_view text) {
  if (text.empty() || text.size() > 10) return nullptr;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return nullptr;
    value = value * 10 + (c - '0');
  }
  // 2^32 - 1 is what setuid(2) takes for "leave as it is".
  if (value >= UINT32_MAX) return nullptr;
  return static_cast<uint32_t>(value);
}

struct Account {
  string_view name;
  uint32_t uid;
  uint32_t gid;
  string_view home;
};

kj::Maybe<Account> findAccount(kj::StringPtr passwd, string_view user) {
  auto wanted = number(user);
  kj::Maybe<Account> byNumber;
  for (auto line : split(view(passwd), '\n')) {
    auto fields = split(trimmed(line), ':');
    if (fields.size() < 3) continue;
    fields.resize(std::max<size_t>(fields.size(), 6));
    KJ_IF_MAYBE (uid, number(fields[2])) {
      KJ_IF_MAYBE (gid, number(fields[3].empty() ? "0" : fields[3])) {
        Account account{fields[0], *uid, *gid, fields[5]};
        if (fields[0] == user) return account;  // a name wins over a number that looks like it
        if (wanted == *uid && byNumber == nullptr) byNumber = account;
      }
    }
  }
  return byNumber;
}

kj::Maybe<uint32_t> findGroup(kj::StringPtr groups, string_view name) {
  for (auto line : split(view(groups), '\n')) {
    auto fields = split(trimmed(line), ':');
    if (fields.size() < 3 || fields[0] != name) continue;
    KJ_IF_MAYBE (gid, number(fields[2])) return *gid;
  }
  return number(name);
}

std::vector<uint32_t> groupsOf(kj::StringPtr groups, string_view user) {
  std::vector<uint32_t> result;
  for (auto line : split(view(groups), '\n')) {
    auto fields = split(trimmed(line), ':');
    if (fields.size() < 4) continue;
    for (auto member : split(fields[3], ',')) {
      if (trimmed(member) != user) continue;
      KJ_IF_MAYBE (gid, number(fields[2])) result.push_back(*gid);
    }
  }
  return result;
}

void addOnce(std::vector<uint32_t>& groups, uint32_t gid) {
  if (std::find(groups.begin(), groups.end(), gid) == groups.end()) groups.push_back(gid);
}

}  // namespace

UserIds resolveUser(kj::StringPtr passwd, kj::StringPtr group, kj::StringPtr user,
                    capnp::List<capnp::Text>::Reader extraGroups) {
  auto text = view(user);
  size_t colon = text.find(':');
  auto userPart = text.substr(0, colon);
  bool groupGiven = colon != string_view::npos && colon + 1 < text.size();
  if (userPart.empty()) userPart = "0";

  UserIds ids;
  std::vector<uint32_t> memberOf;
  KJ_IF_MAYBE (account, findAccount(passwd, userPart)) {
    ids.uid = account->uid;
    ids.gid = account->gid;
    if (!account->home.empty()) ids.home = account->home;
    if (!groupGiven) memberOf = groupsOf(group, account->name);
  } else KJ_IF_MAYBE (uid, number(userPart)) {
    ids.uid = *uid;
  } else {
    fail(kj::str("unknown user '", std::string(userPart).c_str(),
                 "': it is neither a number nor in the image's /etc/passwd"));
  }
  auto mustFind = [&](string_view name) -> uint32_t {
    KJ_IF_MAYBE (gid, findGroup(group, name)) return *gid;
    fail(kj::str("unknown group '", std::string(name).c_str(),
                 "': it is neither a number nor in the image's /etc/group"));
  };
  if (groupGiven) ids.gid = mustFind(text.substr(colon + 1));
  addOnce(ids.groups, ids.gid);
  for (auto gid : memberOf) addOnce(ids.groups, gid);
  for (auto name : extraGroups) addOnce(ids.groups, mustFind(view(name)));
  return ids;
}

}  // namespace orch::runtime
