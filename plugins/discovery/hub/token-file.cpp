#include "token-file.h"

#include <sys/stat.h>

#include <cerrno>
#include <string_view>

#include "lib/uri.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::discovery::hub {

void writeTokens(const std::string& folder, const std::vector<std::string>& tokens) {
  if (mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) failFile("make", folder, errno);
  std::string text;
  for (auto& token : tokens) text += token + "\n";
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
  writeChecked(folder + "/clusters", bytes);
}

std::vector<std::string> readTokens(const std::string& folder) {
  std::vector<std::string> tokens;
  auto file = folder + "/clusters";
  auto read = readChecked(file, "list of clusters",
                          "restore a backup, or remove it: then clusters have to be made again");
  KJ_IF_MAYBE (bytes, read) {
    std::string_view text(reinterpret_cast<const char*>(bytes->begin()), bytes->size());
    for (size_t at = 0; at < text.size();) {
      auto end = std::min(text.find('\n', at), text.size());
      auto token = text.substr(at, end - at);
      if (!isToken(token)) fail(kj::str("'", file.c_str(), "' has a line that is no token"));
      tokens.emplace_back(token);
      at = end + 1;
    }
  }
  return tokens;
}

}  // namespace orch::discovery::hub
