#include "lib/record-files.h"

#include <errno.h>
#include <kj/debug.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "lib/names.h"
#include "orch/durable-file.h"

namespace orch::network {

void writeRecordFile(const std::string& folder, const std::string& name, const std::string& text,
                     const Step& step) {
  if (step) step();
  replaceFile(folder + "/" + name, kj::StringPtr(text.c_str(), text.size()).asBytes(),
              Outlives::PROCESS);
  if (step) step();
}

void removeRecordFile(const std::string& folder, const std::string& name) {
  auto path = folder + "/" + name;
  if (unlink(path.c_str()) == 0) return;
  int error = errno;
  KJ_ASSERT(error == ENOENT, "cannot remove a record", path.c_str(), strerror(error));
}

std::map<std::string, std::string> readRecordFiles(const std::string& folder) {
  std::filesystem::create_directories(folder);
  std::map<std::string, std::string> texts;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    auto name = entry.path().filename().string();
    if (!isId(name.c_str())) {
      std::filesystem::remove(entry.path());
      continue;
    }
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    texts[name] = text.str();
  }
  return texts;
}

}  // namespace orch::network
