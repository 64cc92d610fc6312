// What an admin has on the host that orch is used on: a folder with a key, which never leaves it,
// and a certificate for it with that of the cluster's authority behind.
#pragma once

#include <kj/string.h>

#include <string>

namespace orch::cli {

struct AdminCredentials {
  std::string key;          // all PEM
  std::string certificate;  // of the admin
  std::string authority;
};

// `given`, else what ORCH_CREDENTIALS says, else ~/.orch.
kj::String credentialsFolder(kj::StringPtr given);

// Fails with what to do if something is missing, too open, does not fit together, or is out of
// date.
AdminCredentials readCredentials(kj::StringPtr folder, int64_t nowNs);

// Makes the folder (0700) if it is not there. Fails if there are credentials in it.
void requireRoomForCredentials(kj::StringPtr folder);
// admin.key (0600) and admin.pem; an empty one is left as it is.
void writeCredentials(kj::StringPtr folder, const std::string& key,
                      const std::string& certificates);

}  // namespace orch::cli
