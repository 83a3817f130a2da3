#include "compiler/aot/write_files.h"

#include <fcntl.h>
#include <kroton/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace kroton::aot {
namespace {

[[noreturn]] void fail(const std::string& doing, const std::string& path) {
  const std::string reason = std::strerror(errno);
  throw IoError("aot::write: " + doing + " " + path + ": " + reason);
}

// Removes, at the end of its life, the files that are still listed.
class Leftovers {
 public:
  Leftovers() = default;
  ~Leftovers() {
    for (const std::string& path : paths) ::unlink(path.c_str());
  }
  Leftovers(const Leftovers&) = delete;
  Leftovers& operator=(const Leftovers&) = delete;
  std::vector<std::string> paths;
};

void write_whole(const std::string& path, const std::string& contents) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) fail("cannot create", path);
  std::size_t done = 0;
  while (done < contents.size()) {
    const ssize_t count = ::write(file, contents.data() + done, contents.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      if (count == 0) errno = ENOSPC;
      const int reason = errno;
      ::close(file);
      errno = reason;
      fail("cannot write", path);
    }
    done += static_cast<std::size_t>(count);
  }
  // Some file systems find out only now that the disk is full.
  if (::close(file) != 0) fail("cannot write", path);
}

}  // namespace

void write_files(const std::string& directory,
                 const std::vector<std::pair<std::string, std::string>>& files) {
  if (::mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    fail("cannot make the directory", directory);
  }
  struct stat where{};
  if (::stat(directory.c_str(), &where) != 0) fail("cannot use the directory", directory);
  if (!S_ISDIR(where.st_mode)) throw IoError("aot::write: " + directory + " is not a directory");
  Leftovers temporary;
  Leftovers renamed;
  for (const auto& [path, contents] : files) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      errno = EISDIR;
      fail("cannot write", path);
    }
    static std::atomic<unsigned> number{0};
    const std::string other =
        path + ".part" + std::to_string(::getpid()) + "." + std::to_string(++number);
    ::unlink(other.c_str());  // of a process of this number that was killed here
    temporary.paths.push_back(other);
    write_whole(other, contents);
  }
  for (std::size_t k = 0; k < files.size(); ++k) {
    if (std::rename(temporary.paths[k].c_str(), files[k].first.c_str()) != 0) {
      fail("cannot write", files[k].first);
    }
    renamed.paths.push_back(files[k].first);
  }
  temporary.paths.clear();
  renamed.paths.clear();
}

}  // namespace kroton::aot
