#include "runtime/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <kroton/error.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace kroton {
namespace {

constexpr std::int64_t default_limit_mib = 256;
constexpr std::string_view entry_suffix = ".kroton";
constexpr std::string_view temporary_prefix = "writing-";
constexpr std::time_t temporary_age = 60 * 60;  // seconds

// Looking through a directory takes some microseconds an entry. Where there are many, a ledger
// tells when it is time to: the bytes that there were at the last look, then those of each store
// since, as 64-bit numbers. What it misses (a process that was killed, entries removed by hand) the
// next look finds.
constexpr const char* ledger_name = "ledger";
constexpr std::size_t least_entries_for_ledger = 64;
constexpr std::size_t most_stores_between_looks = 1024;

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

// A directory that is not to be trusted.
class UnsafeDirectory : public IoError {
 public:
  using IoError::IoError;
};

// Empty if nobody else can have written what the file or directory holds.
std::string why_unsafe(const struct stat& status) {
  if (status.st_uid != ::geteuid()) {
    return "it belongs to another user (user " + std::to_string(status.st_uid) +
           ", this process is user " + std::to_string(::geteuid()) + ")";
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
    return std::string("other users may write to it (its mode is ") + mode + ")";
  }
  return "";
}

// On stderr, each text once in the life of the process.
void say_once(const std::string& text) {
  static std::mutex mutex;
  static auto& said = *new std::set<std::string>;  // never destroyed
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) std::fprintf(stderr, "kroton: %s\n", text.c_str());
}

}  // namespace

class CacheFile {
 public:
  explicit CacheFile(int descriptor) : descriptor_(descriptor) {}
  ~CacheFile() { close(); }
  CacheFile(const CacheFile&) = delete;
  CacheFile& operator=(const CacheFile&) = delete;
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

namespace {

// The entry's bytes; nothing if the file is not a whole entry of that key and at most that size.
std::optional<std::string> read_entry(const CacheFile& file, std::int64_t file_size,
                                      const Digest& key, std::int64_t limit) {
  Header header;
  if (file_size > limit || !file.read(&header, sizeof header) ||
      std::memcmp(header.magic, magic, sizeof magic) != 0 ||
      std::memcmp(header.key, key.data(), key.size()) != 0 ||
      header.size != static_cast<std::uint64_t>(file_size) - sizeof header) {
    return std::nullopt;
  }
  std::string bytes;
  try {
    bytes.resize(header.size);
  } catch (const std::bad_alloc&) {
    return std::nullopt;  // within the limit, but not within the memory
  } catch (const std::length_error&) {
    return std::nullopt;
  }
  if (!file.read(bytes.data(), bytes.size())) return std::nullopt;
  const Digest check = sha256(bytes);
  if (std::memcmp(header.check, check.data(), check.size()) != 0) return std::nullopt;
  return bytes;
}

// Whether the process may write files of that size: one that is larger would end it by a signal.
bool may_write(std::uint64_t size) {
  struct rlimit limit{};
  return ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
         size <= limit.rlim_cur;
}

// The bytes that the ledger knows of, with `stored` more, which is noted; nothing if there is no
// ledger, or none that can be used any longer.
std::optional<std::int64_t> noted(int directory, std::int64_t stored) {
  const CacheFile file(
      ::openat(directory, ledger_name, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  std::vector<std::int64_t> counts(most_stores_between_looks);
  constexpr auto one = static_cast<std::int64_t>(sizeof(std::int64_t));
  if (!file.is_open() || ::fstat(file.descriptor(), &status) != 0 || !S_ISREG(status.st_mode) ||
      !why_unsafe(status).empty() || status.st_size < one || status.st_size % one != 0 ||
      status.st_size / one >= static_cast<std::int64_t>(counts.size()) ||
      !may_write(static_cast<std::uint64_t>(status.st_size + one))) {
    return std::nullopt;
  }
  counts.resize(static_cast<std::size_t>(status.st_size / one));
  if (!file.read(counts.data(), counts.size() * sizeof counts[0]) ||
      !file.write(&stored, sizeof stored)) {
    return std::nullopt;
  }
  std::int64_t total = stored;
  for (const std::int64_t count : counts) {
    if (count < 0 || __builtin_add_overflow(total, count, &total)) return std::nullopt;
  }
  return total;
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

// Makes a directory that only its owner can use, whatever the umask, and those it lies in.
void make_directory(const std::string& path) {
  const auto make = [](const std::string& one) {
    if (::mkdir(one.c_str(), 0700) != 0) return errno == EEXIST;
    ::fchmodat(AT_FDCWD, one.c_str(), 0700, AT_SYMLINK_NOFOLLOW);
    return true;
  };
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    make(path.substr(0, at));
  }
  if (!make(path)) {
    throw IoError("cache: cannot make the directory " + path + ": " + reason(errno));
  }
}

std::string without_slashes_at_end(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

struct Cache::OpenDirectory {
  explicit OpenDirectory(int descriptor) : file(descriptor) {}
  CacheFile file;
};

// Code that runs in this process: the directory is the user's alone.
Cache::Cache(const std::string& directory, std::int64_t limit)
    : directory_(without_slashes_at_end(directory)), limit_(limit) {
  const auto open = [&] { return ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); };
  int descriptor = open();
  if (descriptor < 0 && errno != EACCES) {
    struct stat status{};
    if (::stat(directory_.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
      throw IoError("cache: " + directory_ + " is not a directory");
    }
    make_directory(directory_);
    descriptor = open();
  }
  open_ = std::make_shared<OpenDirectory>(descriptor);
  struct stat status{};
  if (descriptor < 0 || ::faccessat(descriptor, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0 ||
      ::fstat(descriptor, &status) != 0) {
    throw IoError("cache: cannot read and write in " + directory_ + ": " + reason(errno));
  }
  if (const std::string why = why_unsafe(status); !why.empty()) {
    throw UnsafeDirectory("the cache " + directory_ + " is not used: " + why);
  }
}

Cache Cache::from_environment() {
  const char* asked = std::getenv("KROTON_CACHE");
  const auto is_asked = [&](const char* text) {
    return asked != nullptr && std::strcmp(asked, text) == 0;
  };
  if (is_asked("off") || is_asked("0")) return {};
  const std::int64_t limit = limit_from_environment();
  if (asked != nullptr && *asked != '\0') {
    try {
      return {asked, limit};
    } catch (const UnsafeDirectory& error) {
      say_once(error.what());
      return {};
    } catch (const IoError& error) {
      throw IoError(std::string(error.what()) + " (asked for by KROTON_CACHE)");
    }
  }
  const std::string directory = default_directory();
  if (directory.empty()) return {};
  try {
    return {directory, limit};
  } catch (const UnsafeDirectory& error) {
    say_once(error.what());
    return {};
  } catch (const IoError&) {
    return {};  // nobody asked for a cache: a home that cannot be written is no error
  }
}

namespace {

std::string name_of(const Digest& key) { return to_hex(key) + std::string(entry_suffix); }

// A new file of a name of its own, unique among the threads of this process and among processes;
// O_EXCL sees to the rest, such as processes with one number on two machines.
class TemporaryFile {
 public:
  explicit TemporaryFile(int directory)
      : directory_(directory),
        name_(std::string(temporary_prefix) + std::to_string(::getpid()) + "-" + next() + "-" +
              std::to_string(std::time(nullptr))),
        file_(::openat(directory, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) {
    if (file_.is_open()) ::fchmod(file_.descriptor(), 0600);
  }

  // Under `name`, in the place of what is there, if the writing went well so far; else it is gone.
  bool finish(bool written, const std::string& name) {
    if (!file_.is_open()) return false;
    if (file_.close() && written &&
        ::renameat(directory_, name_.c_str(), directory_, name.c_str()) == 0) {
      return true;
    }
    ::unlinkat(directory_, name_.c_str(), 0);
    return false;
  }
  bool write(const void* from, std::size_t size) const {
    return file_.is_open() && file_.write(from, size);
  }

 private:
  static std::string next() {
    static std::atomic<std::uint64_t> count{0};
    return std::to_string(++count);
  }

  int directory_;
  std::string name_;
  CacheFile file_;
};

}  // namespace

std::optional<std::string> Cache::load(const Digest& key) const {
  if (!enabled()) return std::nullopt;
  const int directory = open_->file.descriptor();
  const std::string name = name_of(key);
  // Neither waits for the writer of a pipe nor follows a link out of the directory.
  const CacheFile file(
      ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  // A link or a socket is no entry; what cannot be opened for another reason may be one.
  if (!file.is_open() && errno != ELOOP && errno != ENXIO) return std::nullopt;
  std::optional<std::string> bytes;
  struct stat status{};
  if (file.is_open() && ::fstat(file.descriptor(), &status) == 0 && S_ISREG(status.st_mode)) {
    if (const std::string why = why_unsafe(status); !why.empty()) {
      say_once("the entry " + directory_ + "/" + name + " of the cache is not used: " + why);
    } else {
      bytes = read_entry(file, status.st_size, key, limit_);
    }
  }
  if (bytes) {
    ::futimens(file.descriptor(), nullptr);
  } else {
    ::unlinkat(directory, name.c_str(), 0);
  }
  return bytes;
}

bool Cache::store(const Digest& key, std::string_view bytes) const {
  const std::uint64_t size = sizeof(Header) + bytes.size();
  if (!enabled() || size > static_cast<std::uint64_t>(limit_) || !may_write(size)) return false;
  Header header;
  std::memcpy(header.magic, magic, sizeof magic);
  header.size = bytes.size();
  std::memcpy(header.key, key.data(), key.size());
  const Digest check = sha256(bytes);
  std::memcpy(header.check, check.data(), check.size());
  TemporaryFile file(open_->file.descriptor());
  const bool written = file.write(&header, sizeof header) && file.write(bytes.data(), bytes.size());
  if (!file.finish(written, name_of(key))) return false;
  const std::optional<std::int64_t> total =
      noted(open_->file.descriptor(), static_cast<std::int64_t>(size));
  if (!total || *total > limit_) evict();
  return true;
}

void Cache::evict() const {
  const int directory = open_->file.descriptor();
  struct Evictable {
    std::int64_t seconds, nanoseconds;  // of the last use
    std::string name;
    std::int64_t size;
  };
  std::vector<Evictable> entries;
  std::int64_t total = 0;
  const std::time_t now = std::time(nullptr);
  DIR* listing = nullptr;
  const int again = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0 || (listing = ::fdopendir(again)) == nullptr) {
    if (again >= 0) ::close(again);
    return;
  }
  while (const dirent* found = ::readdir(listing)) {
    const std::string_view name = found->d_name;
    const bool temporary = name.starts_with(temporary_prefix);
    if (!temporary && !name.ends_with(entry_suffix)) continue;
    struct stat status{};  // files come and go while other processes work here
    if (::fstatat(directory, found->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!temporary) {
      entries.push_back({status.st_mtim.tv_sec, status.st_mtim.tv_nsec, std::string(name),
                         static_cast<std::int64_t>(status.st_size)});
      total += status.st_size;
    } else if (now - status.st_mtim.tv_sec >= temporary_age) {
      ::unlinkat(directory, found->d_name, 0);
    }
  }
  ::closedir(listing);
  std::size_t removed = 0;
  if (total > limit_) {
    std::sort(entries.begin(), entries.end(), [](const Evictable& a, const Evictable& b) {
      return std::tie(a.seconds, a.nanoseconds) < std::tie(b.seconds, b.nanoseconds);
    });
    // Where there are many, some more, so that not every store finds the directory full again.
    std::size_t more = entries.size() / least_entries_for_ledger;
    while (removed < entries.size() && (total > limit_ || more-- > 0)) {
      ::unlinkat(directory, entries[removed].name.c_str(), 0);
      total -= entries[removed++].size;
    }
  }
  if (entries.size() - removed < least_entries_for_ledger) {
    ::unlinkat(directory, ledger_name, 0);
  } else {
    TemporaryFile ledger(directory);
    if (!ledger.finish(ledger.write(&total, sizeof total), ledger_name)) {
      ::unlinkat(directory, ledger_name, 0);
    }
  }
}

}  // namespace kroton
