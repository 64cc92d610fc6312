// The settings, read and checked. What is wrong fails, naming the setting.
#pragma once

#include "config.capnp.h"
#include "consul/client.h"
#include "orch-source.h"
#include "runner.h"

namespace orch::integration::templates {

constexpr uint32_t MAX_TEMPLATES = 200;

consul::ClientSettings consulSettings(Config::Reader config);
OrchSettings orchSettings(Config::Reader config);
std::vector<TemplateSettings> templateSettings(Config::Reader config);

}  // namespace orch::integration::templates
