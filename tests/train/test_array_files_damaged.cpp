// Files of arrays with random damage: each either loads or is an IoError.
#include <chrono>
#include <fstream>
#include <functional>
#include <random>

#include "tests/tools/damaged_bytes.h"
#include "tests/train/array_file_tools.h"

using namespace array_files;  // NOLINT: tests

namespace {

std::int64_t bytes_in(const Arrays& arrays) {
  std::int64_t bytes = 0;
  for (const auto& [name, array] : arrays) bytes += array.nbytes();
  return bytes;
}

// The most memory that this process has ever asked the system for, in KiB; touched or not.
long peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPeak:")) return std::stol(line.substr(7));
  }
  return 0;
}

struct Outcome {
  int loaded = 0, refused = 0;
  std::int64_t most_bytes = 0;
};

// Anything but an IoError that names the file ends the test.
Outcome load_damaged(const Bytes& whole, int count,
                     const std::function<Arrays(const std::filesystem::path&)>& load) {
  const Files directory;
  std::mt19937 random(1);
  Outcome outcome;
  for (int k = 0; k < count; ++k) {
    const auto path = directory.write("f", damaged(whole, random));
    try {
      outcome.most_bytes = std::max(outcome.most_bytes, bytes_in(load(path)));
      ++outcome.loaded;
    } catch (const kt::IoError& error) {
      REQUIRE(std::string(error.what()).starts_with(path.string() + ": "));
      ++outcome.refused;
    }
  }
  return outcome;
}

}  // namespace

TEST_CASE("damaged files of arrays load or are IoErrors") {
  const auto start = std::chrono::steady_clock::now();
  const long memory = peak_memory();
  const auto npy = [](const std::filesystem::path& path) {
    return Arrays{{"", kt::load_npy(path)}};
  };
  const auto check = [](const std::string& name, int count, const auto& load) {
    const Bytes& whole = written_by_others().at(name);
    const Outcome outcome = load_damaged(whole, count, load);
    MESSAGE(name, ": ", outcome.loaded, " load, ", outcome.refused, " do not");
    CHECK(outcome.loaded + outcome.refused == count);
    CHECK(outcome.refused > count / 10);
    // As many bytes as the file has; four times where I8 becomes i32, and what deflate makes.
    CHECK(outcome.most_bytes < 100'000);
  };
  check("dtypes.safetensors", 3000, kt::load_safetensors);
  check("halves.safetensors", 1000, kt::load_safetensors);
  check("names.safetensors", 1000, kt::load_safetensors);
  check("i16.big.npy", 1000, npy);
  check("fortran.2x3x4.npy", 1000, npy);
  check("version3.npy", 1000, npy);
  check("stored.npz", 1500, kt::load_npz);
  check("deflated.npz", 1500, kt::load_npz);
  CHECK(peak_memory() - memory < 1'000'000);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(120));
}
