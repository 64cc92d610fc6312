#include "orch/generic-resources.h"

#include <algorithm>
#include <cctype>

namespace orch {

namespace {
constexpr size_t LONGEST_KIND = 63;
constexpr size_t LONGEST_NAME = 127;

kj::String valueText(schema::GenericResource::Reader resource) {
  if (resource.getNames().size() == 0) return kj::str(resource.getAmount());
  return kj::str(kj::delimited(resource.getNames(), ","));
}
}  // namespace

bool isResourceKind(std::string_view text) {
  auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !text.empty() && text.size() <= LONGEST_KIND && word(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return word(c) || c == '_' || c == '.' || c == '-'; });
}

bool isResourceName(std::string_view text) {
  return !text.empty() && text.size() <= LONGEST_NAME &&
         std::all_of(text.begin(), text.end(), [](char c) {
           auto byte = static_cast<unsigned char>(c);
           return byte > ' ' && byte != 0x7f && c != ',' && c != '=';
         });
}

kj::String resourceText(schema::GenericResource::Reader resource) {
  return kj::str(resource.getKind(), "=", valueText(resource));
}

uint64_t amountOf(GenericResources::Reader resources, std::string_view kind) {
  for (auto one : resources) {
    if (std::string_view(one.getKind().cStr()) == kind) return one.getAmount();
  }
  return 0;
}

kj::String environmentText(schema::GenericResource::Reader resource) {
  auto kind = kj::str(resource.getKind());
  for (char& c : kind) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return kj::str("DOCKER_RESOURCE_", kind, "=", valueText(resource));
}

}  // namespace orch
