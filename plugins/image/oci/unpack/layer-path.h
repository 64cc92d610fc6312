// Where an entry of a layer goes. The layer's folder is the working directory, and is to the
// layer's names and links what the root is in a container: none of them leads out of it. Nothing
// but this process changes the folder meanwhile.
#pragma once

#include <string>
#include <string_view>

namespace orch::image::oci {

inline constexpr unsigned MAX_LAYER_DEPTH = 256;  // folders; deeper ones are nobody's software

// A path as seen from the root, without "." and "..", which do not lead above it, and without the
// first slash. Empty for the root itself. For names in archives and documents, which follow no
// links.
std::string plainPath(std::string_view path);

// A name without "./", leading and doubled slashes. Empty for the root itself. Fails on '..', and
// on what is deeper than MAX_LAYER_DEPTH or longer than a path may be; `what` says what it is the
// name of.
std::string cleanPath(std::string_view name, const char* what);

// The folder that a clean path leads to, with no symbolic link on the way: those that the layer has
// are followed. What is not there yet is taken for a folder. Fails as cleanPath, and on links that
// go round in circles.
std::string followLinks(const std::string& path);

// The same for all but the last part, which is left alone.
std::string followParents(const std::string& path);

}  // namespace orch::image::oci
