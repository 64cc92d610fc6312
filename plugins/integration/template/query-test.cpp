#include "query.h"

#include <catch2/catch.hpp>

namespace orch::integration::templates {
namespace {

struct Asked {
  const char* function;
  std::vector<std::string> arguments;
  const char* text;  // of the query, or the problem in angle brackets
};

std::string readQuery(const Asked& asked) {
  std::string problem;
  auto query = queryOf(asked.function, asked.arguments, problem);
  return problem.empty() ? query.text() : "<" + problem + ">";
}

TEST_CASE("template: what functions ask for", "[template]") {
  const Asked ALL[] = {
      {"service", {"web"}, "service 'web'"},
      {"service", {"tag1.web@east-aws"}, "service 'tag1.web@east-aws'"},
      {"service", {"v1.2.web"}, "service 'v1.2.web'"},
      {"service", {"web@dc1~_agent|any"}, "service 'web@dc1~_agent|any'"},
      {"service", {"web", "warning,passing"}, "service 'web|passing,warning'"},
      {"service", {"web|passing"}, "service 'web'"},
      {"service",
       {"web|bad"},
       "<'web|bad': 'bad' is none of any, passing, warning, critical and maintenance>"},
      {"service", {"we b"}, "<'we b' has to name a service>"},
      {"service", {".web"}, "<'.web' has to name a tag before the last '.'>"},
      {"service", {"web@"}, "<'web@' has to name a data center after '@'>"},
      {"service",
       {"web?ns=x"},
       "<'web?ns=x': namespaces, partitions and peers ('?') are not supported>"},
      {"services", {}, "services"},
      {"services", {"@dc2"}, "services '@dc2'"},
      {"services", {"web"}, "<'web' has to begin with '@' or '~'>"},
      {"nodes", {"@dc2~_agent"}, "nodes '@dc2~_agent'"},
      {"node", {}, "node"},
      {"node", {"n-1.lab@dc2"}, "node 'n-1.lab@dc2'"},
      {"key", {"/a/b c@dc1"}, "key 'a/b c@dc1'"},
      {"tree", {"a/b"}, "keys below 'a/b'"},
      {"ls", {"a/b"}, "keys below 'a/b'"},
      {"datacenters", {}, "datacenters"},
      {"file", {"/etc/x"}, "file '/etc/x'"},
      {"file", {"etc/x"}, "<'etc/x' is no absolute path>"},
  };
  for (auto& asked : ALL) {
    INFO(asked.function << " " << asked.text);
    CHECK(readQuery(asked) == asked.text);
  }
}

}  // namespace
}  // namespace orch::integration::templates
