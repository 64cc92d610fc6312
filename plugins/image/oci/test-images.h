// Archives and layouts for the tests of image.oci.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace orch::image::oci::test {

inline const std::string HEX(64, 'a');  // of a digest that nothing has

struct TarEntry {
  std::string path;
  char type = 'f';      // f file, d folder, l symbolic link, h hard link, c device
  std::string content;  // or the link's target
  unsigned mode = 0644;
  unsigned owner = 0;
  std::map<std::string, std::string> attributes = {};
};
std::string makeTar(const std::vector<TarEntry>& entries);
// `filter` is "", "gzip", "zstd" or "xz".
std::string compressed(const std::string& bytes, const std::string& filter);
void writeFile(const std::string& path, const std::string& bytes);
std::string readFile(const std::string& path);
std::vector<std::string> filesIn(const std::string& folder);

struct TestLayer {
  TestLayer(const std::vector<TarEntry>& entries, const std::string& filter = "");
  std::string tar;
  std::string blob;
  std::string diffId;
  std::string digest;
};

struct TestImage {
  std::string name;  // annotation; may be empty
  std::vector<TestLayer> layers;
  std::string architecture = "amd64";
  std::string config = "{}";  // JSON of the part that a container starts from
  std::string configJson() const;
};
// Of one file and one gzip layer.
TestImage imageOf(const std::string& name, const std::string& content);
// Writes an OCI layout, with all images in its index.
void writeLayout(const std::string& folder, const std::vector<TestImage>& images);
// Writes what `docker save` does; `name` of an image is its tag.
void writeDockerArchive(const std::string& path, const std::vector<TestImage>& images);
// A tar of all files in a folder, with names relative to it.
void writeTarOf(const std::string& folder, const std::string& path);

}  // namespace orch::image::oci::test
