// The files of the on-disk cache.
#include "runtime/cache.h"

#include <doctest/doctest.h>
#include <kroton/error.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "tests/tools/cache_tools.h"
#include "tests/tools/left_out.h"

using cache_test::entries;
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

unsigned mode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
}

std::string entry_name(const char* name) { return to_hex(sha256(name)) + ".kroton"; }

// What the action writes to stderr.
std::string shown_on_stderr(const auto& action) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/stderr";
  std::fflush(stderr);
  const int before = ::dup(2);
  std::FILE* file = std::fopen(path.c_str(), "w");
  ::dup2(::fileno(file), 2);
  action();
  std::fflush(stderr);
  ::dup2(before, 2);
  ::close(before);
  std::fclose(file);
  return contents(path);
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
  const TemporaryDirectory directory;
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
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), mib);
  const Digest key = sha256("one");
  const std::string bytes(17, 'x');
  REQUIRE(cache.store(key, bytes));
  const fs::path path = entries(directory).at(0);
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
  const TemporaryDirectory directory;
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
  CHECK(entries(directory).size() == 3);
  CHECK_FALSE(cache.load(sha256("b")).has_value());
  for (const char* name : {"a", "c", "d"}) CHECK(cache.load(sha256(name)).has_value());
  CHECK_FALSE(cache.store(sha256("large"), std::string(3600, 'x')));
  CHECK(entries(directory).size() == 3);
  // A smaller limit than what is there already.
  CHECK(Cache(directory.path(), 1200).store(sha256("e"), bytes));
  CHECK(entries(directory).size() == 1);
}

TEST_CASE("cache: temporary files that a process left behind are removed") {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), mib);
  overwrite(directory.path() + "/writing-1-1-00", "half an ent");
  overwrite(directory.path() + "/writing-2-1-00", "half an ent");
  set_age(directory.path() + "/writing-1-1-00", std::chrono::minutes(61));
  set_age(directory.path() + "/writing-2-1-00", std::chrono::minutes(30));
  REQUIRE(cache.store(sha256("one"), "bytes"));
  REQUIRE(directory.names("writing-").size() == 1);  // the young one may still be written
  CHECK(directory.names("writing-")[0] == "writing-2-1-00");
}

TEST_CASE("cache: several processes use one directory at the same time") {
  const TemporaryDirectory directory;
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
  CHECK(directory.names("writing-").empty());
  CHECK_FALSE(entries(directory).empty());
}

TEST_CASE("cache: the environment names the directory and the limit") {
  const TemporaryDirectory directory;
  const Setting home("HOME", directory.path() + "/home");
  const Setting xdg("XDG_CACHE_HOME", std::nullopt);
  const Setting limit("KROTON_CACHE_MB", std::nullopt);
  for (const char* no : {"off", "0"}) {
    const Setting off("KROTON_CACHE", no);
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
  const TemporaryDirectory directory;
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

TEST_CASE(
    "cache: the directory is its owner's alone, whatever the umask and however it is written") {
  for (const mode_t mask : {000, 022, 0777}) {
    const TemporaryDirectory directory;
    const std::string slash = directory.path() + "/with/slash///";
    const std::string plain = directory.path() + "/plain";
    const mode_t before = ::umask(mask);
    Cache(slash, mib).store(sha256("one"), "bytes");
    Cache(plain, mib).store(sha256("one"), "bytes");
    ::umask(before);
    CAPTURE(mask);
    CHECK(mode_of(plain) == 0700);
    CHECK(mode_of(plain + "/" + entry_name("one")) == 0600);
    CHECK(Cache(plain, mib).load(sha256("one")) == "bytes");
    CHECK(Cache(slash, mib).directory() == directory.path() + "/with/slash");
    CHECK(mode_of(directory.path() + "/with") == 0700);
    CHECK(mode_of(directory.path() + "/with/slash") == 0700);
  }
}

TEST_CASE("cache: a directory that others may write to is not used, and stderr says so once") {
  const TemporaryDirectory directory;
  const Setting home("HOME", directory.path());
  const Setting xdg("XDG_CACHE_HOME", std::nullopt);
  for (const char* asked : {"/open", "/.cache/kroton/"}) {
    const std::string path = directory.path() + (asked[1] == 'o' ? "/open" : "/.cache/kroton");
    REQUIRE(Cache(path, mib).store(sha256("one"), "bytes"));
    const Setting here("KROTON_CACHE", asked[1] == 'o' ? directory.path() + asked : "");
    int enabled = 0;
    for (const mode_t mode : {0770, 0702, 0777}) {
      REQUIRE(::chmod(path.c_str(), mode) == 0);
      const std::string shown = shown_on_stderr([&] {
        for (int k = 0; k < 3; ++k) enabled += Cache::from_environment().enabled() ? 1 : 0;
      });
      char digits[8];
      std::snprintf(digits, sizeof digits, "%04o", static_cast<unsigned>(mode));
      CHECK(shown == "kroton: the cache " + path +
                         " is not used: other users may write to it (its mode is " + digits +
                         ")\n");
    }
    CHECK(enabled == 0);
    CHECK(message_of_io_error([&] { Cache(path, mib); }).find("is not used") != std::string::npos);
    REQUIRE(::chmod(path.c_str(), 0755) == 0);  // others may read
    CHECK(Cache::from_environment().load(sha256("one")) == "bytes");
  }
}

TEST_CASE("cache: an entry that others may write to is not used but replaced") {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), mib);
  REQUIRE(cache.store(sha256("one"), "bytes"));
  const std::string path = directory.path() + "/" + entry_name("one");
  REQUIRE(::chmod(path.c_str(), 0620) == 0);
  const std::string shown =
      shown_on_stderr([&] { CHECK(cache.load(sha256("one")) == std::nullopt); });
  CHECK(shown == "kroton: the entry " + path +
                     " of the cache is not used: other users may write to it (its mode is 0620)\n");
  CHECK_FALSE(fs::exists(path));
  REQUIRE(cache.store(sha256("one"), "new"));
  CHECK(cache.load(sha256("one")) == "new");
}

TEST_CASE("cache: what another user owns is not used") {
  if (::geteuid() != 0) {
    leave_out("cache: what another user owns is not used", "only root can give files away");
    return;
  }
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/cache";
  const Cache cache(path, mib);
  REQUIRE(cache.store(sha256("one"), "bytes"));
  const std::string entry = path + "/" + entry_name("one");
  REQUIRE(::chown(entry.c_str(), 1234, 1234) == 0);
  const std::string shown =
      shown_on_stderr([&] { CHECK(cache.load(sha256("one")) == std::nullopt); });
  CHECK(shown == "kroton: the entry " + entry +
                     " of the cache is not used: it belongs to another user (user 1234, this "
                     "process is user 0)\n");
  REQUIRE(::chown(path.c_str(), 1234, 1234) == 0);
  const Setting here("KROTON_CACHE", path);
  CHECK(shown_on_stderr([] { CHECK_FALSE(Cache::from_environment().enabled()); }) ==
        "kroton: the cache " + path +
            " is not used: it belongs to another user (user 1234, this process is user 0)\n");
}

TEST_CASE("cache: what is no file in the place of an entry is no entry") {
  const TemporaryDirectory directory;
  const Cache cache(directory.path(), mib);
  const std::string path = directory.path() + "/" + entry_name("one");
  REQUIRE(cache.store(sha256("one"), "bytes"));
  const std::string elsewhere = directory.path() + "/elsewhere";
  fs::rename(path, elsewhere);
  ::alarm(60);  // a pipe that is opened in vain waits for ever
  for (const char* kind : {"pipe", "link", "broken link", "directory"}) {
    CAPTURE(kind);
    const std::string what = kind;
    if (what == "pipe") REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    if (what == "link") fs::create_symlink(elsewhere, path);
    if (what == "broken link") fs::create_symlink(directory.path() + "/nowhere", path);
    if (what == "directory") fs::create_directory(path);
    CHECK(cache.load(sha256("one")) == std::nullopt);
    CHECK(cache.store(sha256("one"), "new") == (what != "directory"));
    CHECK(cache.load(sha256("one")).has_value() == (what != "directory"));
    fs::remove(path);
  }
  CHECK(directory.names("writing-").empty());
  // Nor is what is no file a ledger.
  REQUIRE(::mkfifo((directory.path() + "/ledger").c_str(), 0600) == 0);
  CHECK(cache.store(sha256("one"), "new"));
  ::alarm(0);
}

TEST_CASE("cache: a forged size is damage, not an allocation") {
  const TemporaryDirectory directory;
  const Digest key = sha256("one");
  const std::string path = directory.path() + "/" + entry_name("one");
  for (const std::uint64_t size : {std::uint64_t{8} << 40, std::uint64_t{1} << 62,
                                   ~std::uint64_t{0}, ~std::uint64_t{0} - 79}) {
    const Cache cache(directory.path(), mib);
    REQUIRE(cache.store(key, "bytes"));
    std::string whole = contents(path);
    std::memcpy(whole.data() + 8, &size, sizeof size);
    overwrite(path, whole);
    std::error_code ignored;
    fs::resize_file(path, size + 80, ignored);  // sparse, where the system makes such files
    CHECK(cache.load(key) == std::nullopt);
    CHECK_FALSE(fs::exists(path));
  }
  // More than the limit is never read.
  REQUIRE(Cache(directory.path(), mib).store(key, std::string(2000, 'x')));
  CHECK(Cache(directory.path(), 1000).load(key) == std::nullopt);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("cache: a limit on the size of files does not end the process") {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    struct rlimit limit{1000, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Cache cache(directory.path(), mib);
    if (cache.store(sha256("large"), std::string(5000, 'x'))) ::_exit(1);
    if (cache.load(sha256("large"))) ::_exit(2);
    // With the ledger of many entries at the limit too.
    for (int k = 0; k < 200; ++k) {
      if (!cache.store(sha256(std::to_string(k)), "small")) ::_exit(3);
    }
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(entries(directory).size() == 200);
}

TEST_CASE("cache: a store does not look through a large directory, and the limit holds") {
  const TemporaryDirectory directory;
  const std::string bytes(920, 'x');  // 1000 with the header
  const Cache cache(directory.path(), 500 * 1000);
  const auto key = [](int k) { return sha256(std::to_string(k)); };
  for (int k = 0; k < 400; ++k) REQUIRE(cache.store(key(k), bytes));
  CHECK(entries(directory).size() == 400);
  // Entries appear that no store made: a store that looked would see them.
  const std::string path = directory.path() + "/" + to_hex(key(0)) + ".kroton";
  for (int k = 0; k < 200; ++k) {
    fs::copy_file(path,
                  directory.path() + "/" + to_hex(sha256("copy" + std::to_string(k))) + ".kroton");
  }
  REQUIRE(cache.store(key(400), bytes));
  CHECK(entries(directory).size() == 601);
  // When the stores alone would reach the limit, one looks; and it does not come to stay there.
  for (int k = 401; k < 501; ++k) REQUIRE(cache.store(key(k), bytes));
  CHECK(entries(directory).size() <= 500);
  CHECK(entries(directory).size() >= 450);
  CHECK(cache.load(key(500)) == bytes);
  // A ledger that is damaged is done without.
  for (const std::string& text :
       {std::string(), std::string("12345"), std::string(8, '\xff'), std::string(100000, '\0')}) {
    overwrite(directory.path() + "/ledger", text);
    CHECK(cache.store(key(500), bytes));
    CHECK(entries(directory).size() <= 500);
    CHECK(fs::file_size(directory.path() + "/ledger") <= 16);
  }
  // Below the limit again, and few: no ledger.
  const Cache small(directory.path(), 10 * 1000);
  REQUIRE(small.store(key(1), bytes));
  CHECK(entries(directory).size() <= 10);
  CHECK_FALSE(fs::exists(directory.path() + "/ledger"));
}
