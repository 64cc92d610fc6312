#include "settings.h"

#include <charconv>
#include <set>

#include "http/settings.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

constexpr uint32_t MAX_ENDPOINTS = 16;
constexpr uint64_t MOST_MS = 24 * 3600 * 1000;

std::vector<std::string> wordsOf(kj::StringPtr setting, capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> words;
  for (auto word : list) words.emplace_back(word.cStr());
  if (!words.empty() && words[0].empty()) fail(kj::str(setting, ": the program has no name"));
  return words;
}

std::string neededPath(kj::StringPtr setting, kj::StringPtr value) {
  auto path = http::fileOf(setting, value);
  if (path.empty()) fail(kj::str(setting, " is missing: an absolute path"));
  bool folder = path.ends_with('/');
  if (folder) fail(kj::str(setting, " is '", value, "'; accepted: the path of a file"));
  return path;
}

std::optional<unsigned> modeOf(kj::StringPtr setting, kj::StringPtr text) {
  if (text.size() == 0) return {};
  unsigned mode = 0;
  auto read = std::from_chars(text.begin(), text.end(), mode, 8);
  bool good = read.ec == std::errc() && read.ptr == text.end() && mode <= 07777;
  if (!good) fail(kj::str(setting, " is '", text, "'; accepted: rights in octal, as 0644"));
  return mode;
}

kj::Duration durationOf(kj::StringPtr setting, uint64_t ms) {
  if (ms > MOST_MS) fail(kj::str(setting, " is ", ms, "; accepted: 0 to ", MOST_MS, ", a day"));
  return ms * kj::MILLISECONDS;
}

TemplateSettings readOne(kj::StringPtr at, Template::Reader given) {
  TemplateSettings one;
  auto name = [&](const char* key) { return kj::str(at, key); };
  one.source = neededPath(name("source"), given.getSource());
  one.destination.path = neededPath(name("destination"), given.getDestination());
  one.destination.mode = modeOf(name("mode"), given.getMode());
  one.destination.owner = given.getOwner().cStr();
  one.destination.group = given.getGroup().cStr();
  one.destination.check = wordsOf(name("check"), given.getCheck());
  one.destination.command = wordsOf(name("command"), given.getCommand());
  one.destination.commandTimeout =
      durationOf(name("commandTimeoutMs"), given.getCommandTimeoutMs());
  if (given.getCommandTimeoutMs() == 0) fail(kj::str(at, "commandTimeoutMs must not be 0"));
  one.destination.createFolders = given.getCreateFolders();
  one.delimiters.left = given.getLeftDelimiter().cStr();
  one.delimiters.right = given.getRightDelimiter().cStr();
  bool delimited = !one.delimiters.left.empty() && !one.delimiters.right.empty();
  if (!delimited) fail(kj::str(at, "leftDelimiter and rightDelimiter must not be empty"));
  one.options.failsOnMissingKey = given.getFailOnMissingKey();
  one.waitMin = durationOf(name("waitMinMs"), given.getWaitMinMs());
  one.waitMax = durationOf(name("waitMaxMs"), given.getWaitMaxMs());
  if (given.getWaitMaxMs() == 0) one.waitMax = one.waitMin * 4;
  if (one.waitMax < one.waitMin) fail(kj::str(at, "waitMaxMs must not be less than waitMinMs"));
  return one;
}

}  // namespace

consul::ClientSettings consulSettings(Config::Reader config) {
  consul::ClientSettings settings;
  settings.tls =
      http::tlsFilesOf({"caFile", config.getCaFile()}, {"certFile", config.getCertFile()},
                       {"keyFile", config.getKeyFile()});
  settings.tokenFile = http::fileOf("tokenFile", config.getTokenFile());
  settings.timeout = config.getTimeoutMs() * kj::MILLISECONDS;
  if (config.getConsul().size() > MAX_ENDPOINTS) {
    fail(kj::str("consul: ", config.getConsul().size(), " are too many; at most ", MAX_ENDPOINTS));
  }
  for (auto url : config.getConsul()) {
    auto parsed = attemptNow([&] { return http::Endpoint::parse(url.cStr()); });
    if (!parsed.ok()) fail(kj::str("consul: ", parsed.message()));
    settings.endpoints.push_back(kj::mv(parsed.value()));
  }
  return settings;
}

OrchSettings orchSettings(Config::Reader config) {
  auto who = config.getServices();
  bool consul = config.getConsul().size() > 0;
  bool known = who == "" || who == "consul" || who == "orch" || who == "node";
  if (!known) fail(kj::str("services is '", who, "'; accepted: consul, orch or node"));
  if (who == "consul" && !consul) fail(kj::str("services is 'consul', but 'consul' names none"));
  OrchSettings settings;
  settings.answers = who == "" ? !consul : who != "consul";
  settings.whole = who != "node";
  settings.noticeMs = config.getNoticeMs();
  return settings;
}

std::vector<TemplateSettings> templateSettings(Config::Reader config) {
  auto given = config.getTemplates();
  if (given.size() > MAX_TEMPLATES) {
    fail(kj::str("templates: there may be ", MAX_TEMPLATES, " of them, not ", given.size()));
  }
  std::vector<TemplateSettings> all;
  std::set<std::string> destinations;
  for (uint32_t i = 0; i < given.size(); ++i) {
    all.push_back(readOne(kj::str("templates: number ", i + 1, ": "), given[i]));
    auto& path = all.back().destination.path;
    if (!destinations.insert(path).second) {
      fail(kj::str("templates: two of them have the destination '", path.c_str(), "'"));
    }
  }
  return all;
}

}  // namespace orch::integration::templates
