#include "kernel/options.h"

#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "orch/abi.h"

namespace orch {

namespace {

constexpr const char* USAGE =
    "usage: orchd [--config FILE] [--label KEY=VALUE]… | --check [--json] [FILE] |\n"
    "       --inspect PLUGIN-FILE [--json] | --version\n"
    "\n"
    "  --config FILE       the manifest (default /etc/orch/orchd.toml, then plugins.d/*.toml "
    "beside it;\n"
    "                      of an installation outside of /usr: etc/orch/orchd.toml below its "
    "prefix)\n"
    "  --label KEY=VALUE   a label of this node; adds to [node].labels, and wins\n"
    "  --check             says whether the manifest is valid, and ends\n"
    "  --inspect FILE      prints what a plugin's file says of itself, without loading it, and "
    "ends\n"
    "  --json              the answer of --check and --inspect as JSON\n"
    "  --version           prints the version, and ends\n";

constexpr struct option LONG[] = {
    {"config", required_argument, nullptr, 'c'}, {"label", required_argument, nullptr, 'l'},
    {"check", no_argument, nullptr, 'k'},        {"inspect", required_argument, nullptr, 'i'},
    {"json", no_argument, nullptr, 'j'},         {"version", no_argument, nullptr, 'v'},
    {"help", no_argument, nullptr, 'h'},         {nullptr, 0, nullptr, 0}};

[[noreturn]] void usage(const std::string& problem) {
  fprintf(stderr, "orchd: %s\n%s", problem.c_str(), USAGE);
  exit(2);
}

std::string absolutePath(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal();
}

// Where `cmake --install` puts it (configs/CMakeLists.txt). A build that is not installed has none.
std::string installedManifest() {
  std::error_code ignored;
  auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  auto prefix = program.parent_path().parent_path();
  auto own = prefix / "etc/orch/orchd.toml";
  if (prefix == "/usr" || !std::filesystem::exists(own, ignored)) return "/etc/orch/orchd.toml";
  return own;
}

[[noreturn]] void usageWithoutValue(char letter, const char* written) {
  const char* wanted = letter == 'l' ? "KEY=VALUE" : letter == 'i' ? "PLUGIN-FILE" : "FILE";
  usage(std::string("option '") + written + "' needs a value: " + wanted);
}

void addLabel(Options& options, const std::string& value) {
  auto equals = value.find('=');
  if (equals == std::string::npos || equals == 0)
    usage("--label '" + value + "': accepted is KEY=VALUE");
  options.labels.emplace_back(value.substr(0, equals), value.substr(equals + 1));
}

// One option with its value.
void take(Options& options, int letter, char** argv) {
  std::string value = optarg == nullptr ? "" : optarg;
  switch (letter) {
    case 'c':
    case 'i':
      if (value.empty()) usageWithoutValue(letter, letter == 'c' ? "--config" : "--inspect");
      (letter == 'c' ? options.config : options.inspect) = absolutePath(value);
      break;
    case 'l':
      addLabel(options, value);
      break;
    case 'k':
      options.check = true;
      break;
    case 'j':
      options.json = true;
      break;
    case 'v':
      printf("orchd %s (%s)\n", ORCH_VERSION, ORCH_ABI_ID);
      exit(0);
    case 'h':
      printf("%s", USAGE);
      exit(0);
    case ':':
      usageWithoutValue(optopt, argv[optind - 1]);
    default:
      usage(std::string("unknown option '") + argv[optind - 1] + "'");
  }
}

}  // namespace

Options parseOptions(int argc, char** argv) {
  Options options;
  int letter;
  opterr = 0;
  while ((letter = getopt_long(argc, argv, ":", LONG, nullptr)) != -1) take(options, letter, argv);
  if (options.check && optind < argc) options.config = absolutePath(argv[optind++]);
  if (options.config.empty()) options.config = installedManifest();
  if (optind < argc) usage(std::string("unexpected argument '") + argv[optind] + "'");
  bool answers = options.check || !options.inspect.empty();
  if (options.json && !answers) usage("--json is for --check and --inspect");
  return options;
}

}  // namespace orch
