#include "query.h"

#include <algorithm>

namespace orch::integration::templates {

namespace {

constexpr const char* STATES[] = {"any", "critical", "maintenance", "passing", "warning"};

bool isMadeOf(std::string_view text, std::string_view beside) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    auto small = static_cast<char>(c | 0x20);
    return c == '_' || (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z') ||
           beside.find(c) != std::string_view::npos;
  });
}

// Takes what stands behind `mark` off the text.
bool cutOff(std::string& text, char mark, std::string& behind) {
  auto at = text.rfind(mark);
  if (at == std::string::npos) return false;
  behind = text.substr(at + 1);
  text.erase(at);
  return true;
}

class ArgumentReader final {
 public:
  ArgumentReader(std::string text, std::string& problem)
      : whole(text), text(std::move(text)), problem(problem) {}

  // From behind: `|states`, `~near`, `@datacenter`, `?…`.
  void readEnd(Query& query, bool states, bool near) {
    std::string part;
    if (states && cutOff(text, '|', part)) readStates(query, part);
    if (near && cutOff(text, '~', query.near)) check(query.near, ".-", "a node after '~'");
    if (cutOff(text, '@', query.datacenter))
      check(query.datacenter, ".-", "a data center after '@'");
    if (cutOff(text, '?', part)) {
      problem = "'" + whole + "': namespaces, partitions and peers ('?') are not supported";
    }
  }
  void check(const std::string& part, std::string_view beside, const char* what) {
    if (!part.empty() && isMadeOf(part, beside)) return;
    if (problem.empty()) problem = "'" + whole + "' has to name " + what;
  }
  std::string rest() const { return text; }

 private:
  void readStates(Query& query, std::string states) {
    while (!states.empty()) {
      auto comma = std::min(states.find(','), states.size());
      auto state = states.substr(0, comma);
      states.erase(0, comma + 1);
      if (state.empty()) continue;
      if (std::find(std::begin(STATES), std::end(STATES), state) == std::end(STATES)) {
        problem = "'" + whole + "': '" + state +
                  "' is none of any, passing, warning, critical and maintenance";
      }
      query.states.push_back(state);
    }
    std::sort(query.states.begin(), query.states.end());
  }
  const std::string whole;
  std::string text;
  std::string& problem;
};

void readService(Query& query, ArgumentReader& reader) {
  reader.readEnd(query, true, true);
  query.kind = Query::Kind::SERVICE;
  query.name = reader.rest();
  auto dot = query.name.rfind('.');
  if (dot != std::string::npos) {
    query.tag = query.name.substr(0, dot);
    query.name.erase(0, dot + 1);
    reader.check(query.tag, "=:.-", "a tag before the last '.'");
  }
  reader.check(query.name, "-", "a service");
  if (query.states.empty()) query.states = {"passing"};
}

void readKey(Query& query, ArgumentReader& reader, Query::Kind kind) {
  reader.readEnd(query, false, false);
  query.kind = kind;
  query.name = reader.rest();
  if (query.name.starts_with('/')) query.name.erase(0, 1);
}

const char* nameOfKind(Query::Kind kind) {
  switch (kind) {
    case Query::Kind::SERVICE:
      return "service";
    case Query::Kind::SERVICES:
      return "services";
    case Query::Kind::KEY:
      return "key";
    case Query::Kind::KEYS:
      return "keys below";
    case Query::Kind::NODE:
      return "node";
    case Query::Kind::NODES:
      return "nodes";
    case Query::Kind::DATACENTERS:
      return "datacenters";
    case Query::Kind::FILE:
      return "file";
  }
  return "";
}

}  // namespace

std::string Query::text() const {
  std::string argument = tag.empty() ? name : tag + "." + name;
  if (!datacenter.empty()) argument += "@" + datacenter;
  if (!near.empty()) argument += "~" + near;
  if (!states.empty() && states != std::vector<std::string>{"passing"}) {
    for (size_t i = 0; i < states.size(); ++i) argument += (i == 0 ? "|" : ",") + states[i];
  }
  std::string out = nameOfKind(kind);
  return argument.empty() ? out : out + " '" + argument + "'";
}

Query queryOf(std::string_view function, const std::vector<std::string>& arguments,
              std::string& problem) {
  Query query;
  std::string argument;
  for (size_t i = 0; i < arguments.size(); ++i) argument += (i > 0 ? "|" : "") + arguments[i];
  ArgumentReader reader(argument, problem);
  if (function == "service") {
    readService(query, reader);
  } else if (function == "key" || function == "keyExists") {
    readKey(query, reader, Query::Kind::KEY);
  } else if (function == "ls" || function == "tree") {
    readKey(query, reader, Query::Kind::KEYS);
  } else if (function == "file") {
    query.kind = Query::Kind::FILE;
    query.name = argument;
    bool absolute = argument.starts_with('/');
    if (!absolute) problem = "'" + argument + "' is no absolute path";
  } else if (function == "datacenters") {
    query.kind = Query::Kind::DATACENTERS;
  } else {
    bool nodes = function == "nodes";
    reader.readEnd(query, false, nodes);
    query.name = reader.rest();
    query.kind = nodes                    ? Query::Kind::NODES
                 : function == "services" ? Query::Kind::SERVICES
                                          : Query::Kind::NODE;
    if (query.kind != Query::Kind::NODE && !query.name.empty()) {
      problem = "'" + argument + "' has to begin with '@' or '~'";
    }
    if (!query.name.empty()) reader.check(query.name, ".-", "a node");
  }
  return query;
}

}  // namespace orch::integration::templates
