// Certificates and keys in files, and what an admin has on the host that orch is used on: a folder
// with a key, which never leaves it, and a certificate for it with that of the cluster's authority
// behind.
#pragma once

#include <kj/string.h>

#include <string>

namespace orch::cli {

struct AdminCredentials {
  std::string key;          // all PEM
  std::string certificate;  // of the admin
  std::string authority;    // all that it trusts, the newest first
};

// All of a file; `-` for stdin. `what`: as in "request".
std::string readPem(kj::StringPtr what, kj::StringPtr name);

// `given`, else what ORCH_CREDENTIALS says, else ~/.orch.
kj::String credentialsFolder(kj::StringPtr given);

// Fails with what to do if something is missing, too open, does not fit together, or is out of
// date.
AdminCredentials readCredentials(kj::StringPtr folder, int64_t nowNs);

// Whether it is time for the next certificate, for the same key: as of a node's it is due at 50 to
// 80 % of its life, the same moment each time it is asked, and late after that.
enum class Renewal { NOT_YET, DUE, LATE };
Renewal renewalOf(const AdminCredentials& own, int64_t nowNs);
// Fails if the next one could not be kept.
void requireRoomForRenewed(kj::StringPtr folder);
// It takes the place of the one that there is, or this fails and leaves that. `authorities`: as
// AdminCredentials has them; empty: as before.
void keepRenewed(kj::StringPtr folder, const AdminCredentials& own, const std::string& certificate,
                 const std::string& authorities = {});

// Makes the folder (0700) if it is not there. Fails if there are credentials in it.
void requireRoomForCredentials(kj::StringPtr folder);
// admin.key (0600) and admin.pem; an empty one is left as it is.
void writeCredentials(kj::StringPtr folder, const std::string& key,
                      const std::string& certificates);

}  // namespace orch::cli
