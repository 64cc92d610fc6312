// What is in an nftables table: as a batch would make it, and as the kernel has it. The two are
// read by the same code, from the same messages, so that whoever builds a table need not say again
// what is to be in it. Blocking, for worker threads.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/findings.h"
#include "lib/nft-batch.h"

namespace orch::network {

struct NftContent {
  struct Set {
    uint32_t keyType = 0, dataType = 0;         // nft(8)'s numbers
    bool timed = false;                         // packets put the elements in
    std::map<std::string, std::string> values;  // raw bytes; of verdicts the chain's name
  };
  struct Chain {
    std::string hook;                // empty: it has none
    std::vector<std::string> rules;  // what each is made of
  };
  std::map<std::string, Set> sets;
  std::map<std::string, Chain> chains;

  void read(const nlmsghdr* message, kj::StringPtr table);
};

// Of a batch that makes the whole table, from nothing.
NftContent contentOf(const NftBatch& batch);
// Empty if there is no such table in the namespace of the socket.
NftContent nftContent(NetlinkSocket& socket, kj::StringPtr table, NftFamily family);

// Sets, their elements, chains and their rules, in the words of nft(8). `about` stands before each,
// as `table ip orch`.
void compareContent(kj::StringPtr about, const NftContent& expected, const NftContent& found,
                    Findings& findings);
// The table that the batch makes, against that of the calling thread's network namespace. `alike`,
// unless null, makes the same of what may differ, in both.
void checkTable(const NftBatch& batch, Findings& findings, void (*alike)(NftContent&) = nullptr);

}  // namespace orch::network
