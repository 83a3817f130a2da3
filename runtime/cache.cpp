#include "runtime/cache.h"

#include <fcntl.h>
#include <kroton/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace kroton {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t default_limit_mib = 256;
constexpr std::string_view entry_suffix = ".kroton";
constexpr std::string_view temporary_prefix = "writing-";
constexpr auto temporary_age = std::chrono::hours(1);

// An entry: this header, then the bytes.
struct Header {
  char magic[8];           // the format, with its version
  std::uint64_t size;      // of the bytes
  std::uint8_t key[32];    // the entry's name: a file that was renamed is another entry
  std::uint8_t check[32];  // of the bytes
};
static_assert(sizeof(Header) == 80);
constexpr char magic[8] = {'K', 'R', 'O', 'T', 'O', 'N', '0', '1'};

std::string reason(int code) { return std::generic_category().message(code); }

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  bool close() {
    const int descriptor = std::exchange(descriptor_, -1);
    return descriptor < 0 || ::close(descriptor) == 0;
  }
  bool read(void* to, std::size_t size) const {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      const ssize_t done = ::read(descriptor_, at, size);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return false;
      at += done;
      size -= static_cast<std::size_t>(done);
    }
    return true;
  }
  bool write(const void* from, std::size_t size) const {
    const auto* at = static_cast<const char*>(from);
    while (size > 0) {
      const ssize_t done = ::write(descriptor_, at, size);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return false;
      at += done;
      size -= static_cast<std::size_t>(done);
    }
    return true;
  }

 private:
  int descriptor_;
};

// The entry's bytes; nothing if the file is not a whole entry of that key.
std::optional<std::string> read_entry(const File& file, const Digest& key) {
  struct stat status{};
  Header header;
  if (::fstat(file.descriptor(), &status) != 0 || !file.read(&header, sizeof header) ||
      std::memcmp(header.magic, magic, sizeof magic) != 0 ||
      std::memcmp(header.key, key.data(), key.size()) != 0 ||
      header.size != static_cast<std::uint64_t>(status.st_size) - sizeof header) {
    return std::nullopt;
  }
  std::string bytes(header.size, '\0');
  if (!file.read(bytes.data(), bytes.size())) return std::nullopt;
  const Digest check = sha256(bytes);
  if (std::memcmp(header.check, check.data(), check.size()) != 0) return std::nullopt;
  return bytes;
}

std::int64_t limit_from_environment() {
  const char* text = std::getenv("KROTON_CACHE_MB");
  std::int64_t mib = default_limit_mib;
  if (text != nullptr && *text != '\0') {
    const char* end = text + std::strlen(text);
    const auto parsed = std::from_chars(text, end, mib);
    if (parsed.ec != std::errc() || parsed.ptr != end || mib < 1 || mib > (std::int64_t{1} << 40)) {
      throw ValueError("KROTON_CACHE_MB is \"" + std::string(text) +
                       "\", not a whole number of MiB from 1 on");
    }
  }
  return mib << 20;
}

// Empty if the environment names no home.
std::string default_directory() {
  const auto absolute = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  if (const std::string base = absolute("XDG_CACHE_HOME"); !base.empty()) return base + "/kroton";
  if (const std::string home = absolute("HOME"); !home.empty()) return home + "/.cache/kroton";
  return "";
}

}  // namespace

Cache::Cache(const std::string& directory, std::int64_t limit)
    : directory_(directory), limit_(limit) {
  // Code that runs in this process: the directory is the user's alone.
  const fs::path path(directory);
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
      throw IoError("cache: cannot make the directory " + directory + ": " + reason(errno));
    }
    if (!fs::is_directory(path, error)) {
      throw IoError("cache: " + directory + " is not a directory");
    }
  }
  if (::access(directory.c_str(), R_OK | W_OK | X_OK) != 0) {
    throw IoError("cache: cannot read and write in " + directory + ": " + reason(errno));
  }
}

Cache Cache::from_environment() {
  const char* asked = std::getenv("KROTON_CACHE");
  if (asked != nullptr && std::strcmp(asked, "off") == 0) return {};
  const std::int64_t limit = limit_from_environment();
  if (asked != nullptr && *asked != '\0') {
    try {
      return {asked, limit};
    } catch (const IoError& error) {
      throw IoError(std::string(error.what()) + " (asked for by KROTON_CACHE)");
    }
  }
  const std::string directory = default_directory();
  if (directory.empty()) return {};
  try {
    return {directory, limit};
  } catch (const IoError&) {
    return {};  // nobody asked for a cache: a home that cannot be written is no error
  }
}

std::string Cache::path_of(const Digest& key) const {
  return directory_ + "/" + to_hex(key) + std::string(entry_suffix);
}

std::optional<std::string> Cache::load(const Digest& key) const {
  if (!enabled()) return std::nullopt;
  const std::string path = path_of(key);
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  std::optional<std::string> bytes = read_entry(file, key);
  if (bytes) {
    ::futimens(file.descriptor(), nullptr);
  } else {
    ::unlink(path.c_str());
  }
  return bytes;
}

bool Cache::store(const Digest& key, std::string_view bytes) const {
  if (!enabled() || static_cast<std::int64_t>(bytes.size() + sizeof(Header)) > limit_) return false;
  Header header;
  std::memcpy(header.magic, magic, sizeof magic);
  header.size = bytes.size();
  std::memcpy(header.key, key.data(), key.size());
  const Digest check = sha256(bytes);
  std::memcpy(header.check, check.data(), check.size());

  // Unique among the threads of this process and among processes; O_EXCL sees to the rest, such as
  // processes with one number on two machines.
  static std::atomic<std::uint64_t> count{0};
  const std::string temporary = directory_ + "/" + std::string(temporary_prefix) +
                                std::to_string(::getpid()) + "-" + std::to_string(++count) + "-" +
                                to_hex(key).substr(0, 16);
  File file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.is_open()) return false;
  const bool written = file.write(&header, sizeof header) && file.write(bytes.data(), bytes.size());
  if (!file.close() || !written || ::rename(temporary.c_str(), path_of(key).c_str()) != 0) {
    ::unlink(temporary.c_str());
    return false;
  }
  evict();
  return true;
}

void Cache::evict() const {
  struct Entry {
    fs::file_time_type used;
    fs::path path;
    std::int64_t size;
  };
  std::vector<Entry> entries;
  std::int64_t total = 0;
  std::error_code error;  // files come and go while other processes work here
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator at(directory_, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;
    const auto time = at->last_write_time(gone);
    if (gone) continue;
    if (name.starts_with(temporary_prefix)) {
      if (now - time >= temporary_age) fs::remove(at->path(), gone);
    } else if (name.ends_with(entry_suffix)) {
      const auto size = static_cast<std::int64_t>(at->file_size(gone));
      if (gone) continue;
      entries.push_back({time, at->path(), size});
      total += size;
    }
  }
  if (total <= limit_) return;
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= limit_) return;
    fs::remove(entry.path, error);
    total -= entry.size;
  }
}

}  // namespace kroton
