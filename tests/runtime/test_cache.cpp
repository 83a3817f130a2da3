// The files of the on-disk cache.
#include "runtime/cache.h"

#include <doctest/doctest.h>
#include <kroton/error.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>

#include "tests/cache_tools.h"

using cache_test::Directory;
using cache_test::Setting;
using kroton::Cache;
using kroton::Digest;
using kroton::sha256;
using kroton::to_hex;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t mib = 1 << 20;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void set_age(const fs::path& path, std::chrono::minutes age) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - age);
}

std::string message_of_io_error(const auto& action) {
  try {
    action();
  } catch (const kroton::IoError& error) {
    return error.what();
  }
  return "no IoError";
}

}  // namespace

TEST_CASE("sha256: the test vectors of FIPS 180") {
  CHECK(to_hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  kroton::Sha256 parts;
  for (int k = 0; k < 10000; ++k) parts.update(std::string(100, 'a'));
  CHECK(to_hex(parts.finish()) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("cache: what is stored is found, by this and by later ones") {
  const Directory directory;
  const std::string path = directory.path() + "/deep/er";
  const Cache cache(path, mib);
  const std::string bytes("a\0b\n", 4);
  CHECK(cache.load(sha256("one")) == std::nullopt);
  CHECK(cache.store(sha256("one"), bytes));
  CHECK(cache.store(sha256("empty"), ""));
  CHECK(cache.load(sha256("one")) == bytes);
  CHECK(Cache(path, mib).load(sha256("one")) == bytes);
  CHECK(Cache(path, mib).load(sha256("empty")) == "");
  CHECK(cache.load(sha256("two")) == std::nullopt);
  CHECK(cache.store(sha256("one"), "new"));
  CHECK(cache.load(sha256("one")) == "new");
  CHECK(std::distance(fs::directory_iterator(path), {}) == 2);  // no temporary file stays
}

TEST_CASE("cache: no cache stores nothing") {
  const Cache cache;
  CHECK_FALSE(cache.enabled());
  CHECK_FALSE(cache.store(sha256("one"), "bytes"));
  CHECK(cache.load(sha256("one")) == std::nullopt);
}

TEST_CASE("cache: a damaged entry is dropped") {
  const Directory directory;
  const Cache cache(directory.path(), mib);
  const Digest key = sha256("one");
  const std::string bytes(17, 'x');
  REQUIRE(cache.store(key, bytes));
  const fs::path path = directory.entries().at(0);
  const std::string whole = contents(path);
  std::vector<std::string> damaged;
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    damaged.push_back(whole.substr(0, size));
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    damaged.push_back(whole);
    damaged.back()[at] ^= 4;  // each bit of the header and of the bytes is checked
  }
  damaged.push_back(whole + "x");
  damaged.push_back("KROTON02" + whole.substr(8));  // of another version
  damaged.push_back(std::string(whole.size(), '\0'));
  int kept = 0;
  for (const std::string& file : damaged) {
    overwrite(path, file);
    if (cache.load(key) || fs::exists(path)) ++kept;
  }
  CHECK(kept == 0);
  CHECK(cache.store(key, bytes));
  CHECK(cache.load(key) == bytes);
  // The entry of one key is not that of another.
  fs::rename(path, path.parent_path() / (to_hex(sha256("two")) + ".kroton"));
  CHECK(cache.load(sha256("two")) == std::nullopt);
}

TEST_CASE("cache: the entries not used for the longest time go first") {
  const Directory directory;
  const std::string bytes(1000, 'x');
  const auto path_of = [&](const char* name) {
    return directory.path() + "/" + to_hex(sha256(name)) + ".kroton";
  };
  const Cache cache(directory.path(), 3500);  // three entries with their headers
  int age = 30;
  for (const char* name : {"a", "b", "c"}) {
    REQUIRE(cache.store(sha256(name), bytes));
    set_age(path_of(name), std::chrono::minutes(age--));
  }
  CHECK(cache.load(sha256("a")).has_value());  // used now
  CHECK(cache.store(sha256("d"), bytes));
  CHECK(directory.entries().size() == 3);
  CHECK_FALSE(cache.load(sha256("b")).has_value());
  for (const char* name : {"a", "c", "d"}) CHECK(cache.load(sha256(name)).has_value());
  CHECK_FALSE(cache.store(sha256("large"), std::string(3600, 'x')));
  CHECK(directory.entries().size() == 3);
  // A smaller limit than what is there already.
  CHECK(Cache(directory.path(), 1200).store(sha256("e"), bytes));
  CHECK(directory.entries().size() == 1);
}

TEST_CASE("cache: temporary files that a process left behind are removed") {
  const Directory directory;
  const Cache cache(directory.path(), mib);
  overwrite(directory.path() + "/writing-1-1-00", "half an ent");
  overwrite(directory.path() + "/writing-2-1-00", "half an ent");
  set_age(directory.path() + "/writing-1-1-00", std::chrono::minutes(61));
  set_age(directory.path() + "/writing-2-1-00", std::chrono::minutes(30));
  REQUIRE(cache.store(sha256("one"), "bytes"));
  REQUIRE(directory.files("writing-", "").size() == 1);  // the young one may still be written
  CHECK(directory.files("writing-", "")[0].filename() == "writing-2-1-00");
}

TEST_CASE("cache: several processes use one directory at the same time") {
  const Directory directory;
  const auto bytes_of = [](int k) {
    return std::string(static_cast<std::size_t>(1000 + 5000 * k), static_cast<char>('a' + k));
  };
  constexpr int processes = 4, keys = 5, rounds = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // Too small for all entries: some are evicted while others read them.
      const Cache cache(directory.path(), 40000);
      int wrong = 0;
      for (int round = 0; round < rounds; ++round) {
        const int k = (round + p) % keys;
        const Digest key = sha256(std::to_string(k));
        const auto found = cache.load(key);
        if (found && *found != bytes_of(k)) ++wrong;
        if (!cache.store(key, bytes_of(k))) ++wrong;
      }
      ::_exit(wrong);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  CHECK(directory.files("writing-", "").empty());
  CHECK_FALSE(directory.entries().empty());
}

TEST_CASE("cache: the environment names the directory and the limit") {
  const Directory directory;
  const Setting home("HOME", directory.path() + "/home");
  const Setting xdg("XDG_CACHE_HOME", std::nullopt);
  const Setting limit("KROTON_CACHE_MB", std::nullopt);
  {
    const Setting off("KROTON_CACHE", "off");
    CHECK_FALSE(Cache::from_environment().enabled());
  }
  {
    const Setting here("KROTON_CACHE", directory.path() + "/here");
    CHECK(Cache::from_environment().directory() == directory.path() + "/here");
    for (const char* wrong : {"0", "-1", "many", "1.5", "1 ", "99999999999999999999"}) {
      const Setting set("KROTON_CACHE_MB", wrong);
      CHECK_THROWS_WITH_AS(
          Cache::from_environment(),
          ("KROTON_CACHE_MB is \"" + std::string(wrong) + "\", not a whole number of MiB from 1 on")
              .c_str(),
          kroton::ValueError);
    }
    const Setting one("KROTON_CACHE_MB", "1");
    CHECK_FALSE(Cache::from_environment().store(sha256("large"), std::string(mib, 'x')));
    CHECK(Cache::from_environment().store(sha256("fits"), std::string(mib - 200, 'x')));
  }
  {
    const Setting unset("KROTON_CACHE", std::nullopt);
    CHECK(Cache::from_environment().directory() == directory.path() + "/home/.cache/kroton");
    const Setting empty("KROTON_CACHE", "");
    const Setting elsewhere("XDG_CACHE_HOME", directory.path() + "/xdg");
    CHECK(Cache::from_environment().directory() == directory.path() + "/xdg/kroton");
  }
}

TEST_CASE("cache: a directory that cannot be used is an error if it was asked for") {
  const Directory directory;
  const std::string file = directory.path() + "/file";
  overwrite(file, "not a directory");
  {
    const Setting asked("KROTON_CACHE", file);
    CHECK(message_of_io_error([] { Cache::from_environment(); }) ==
          "cache: " + file + " is not a directory (asked for by KROTON_CACHE)");
  }
  {
    const Setting asked("KROTON_CACHE", file + "/below");
    CHECK(message_of_io_error([] { Cache::from_environment(); }) ==
          "cache: cannot make the directory " + file +
              "/below: Not a directory (asked for by KROTON_CACHE)");
  }
  const Setting unset("KROTON_CACHE", std::nullopt);
  const Setting elsewhere("XDG_CACHE_HOME", file);
  CHECK_FALSE(Cache::from_environment().enabled());
}
