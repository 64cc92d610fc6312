// Text files that tell the next orchd what a plugin has done on the node, one per name, in a folder
// of their own. These block; for worker threads. A file is replaced as a whole or not at all; it
// need not survive the machine, since what it describes does not either.
#pragma once

#include <map>
#include <string>

#include "lib/netns.h"

namespace orch::network {

void writeRecordFile(const std::string& folder, const std::string& name, const std::string& text,
                     const Step& step = nullptr);
void removeRecordFile(const std::string& folder, const std::string& name);  // gone is success
// Texts by name. Makes the folder if it is not there; files whose names are no ids are removed.
std::map<std::string, std::string> readRecordFiles(const std::string& folder);

}  // namespace orch::network
