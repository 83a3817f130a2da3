#include "frontend/train/files.h"

#include <fcntl.h>
#include <kroton/error.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace kroton::files {

namespace {

// At most so many bytes in one call of the system, which takes less than 2^31.
constexpr std::size_t most_at_once = std::size_t{1} << 30;

std::string text_of(int error) { return std::generic_category().message(error); }

}  // namespace

std::string shown(std::string_view name) {
  constexpr std::size_t most = 80;
  std::string text(name.substr(0, most));
  for (std::size_t k = 0; k < text.size();) {
    const std::size_t length = utf8_character(std::string_view(text).substr(k));
    const auto first = static_cast<unsigned char>(text[k]);
    if (length == 0 || first < 0x20 || first == 0x7f) text[k] = '?';
    k += std::max<std::size_t>(length, 1);
  }
  return '"' + text + (name.size() > most ? "...\"" : "\"");
}

std::size_t utf8_character(std::string_view text) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  // Neither longer than needed, nor a surrogate, nor above U+10FFFF.
  const unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t k = 2; k < length; ++k) {
    if (byte(k) < 0x80 || byte(k) > 0xbf) return 0;
  }
  return length;
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t k = 0;
  while (k < text.size()) {
    const std::size_t length = utf8_character(text.substr(k));
    if (length == 0) break;
    k += length;
  }
  return k;
}

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  // Without O_NONBLOCK a pipe would be waited for.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    throw IoError(path.string() +
                  (errno == ENOENT ? ": no such file" : ": cannot be opened: " + text_of(errno)));
  }
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw IoError(path.string() + ": not a file");
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes,
                     const std::string& what) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data() + done, std::min(bytes.size() - done, most_at_once),
                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(offset + done, "the system cannot read it from here: " + text_of(errno));
    if (got == 0) {
      fail(offset + done, "the file ends in the " + what + ": expected " +
                              std::to_string(offset + bytes.size()) + " bytes, got " +
                              std::to_string(offset + done));
    }
    done += static_cast<std::size_t>(got);
  }
}

void InputFile::fail(std::uint64_t offset, const std::string& message) const {
  throw IoError(path_.string() + ": at byte " + std::to_string(offset) + ": " + message);
}

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path) {
  if (!path.has_filename()) throw IoError(path.string() + ": cannot be written: not a file's name");
  // Usually the first; another one while somebody else writes the same file.
  for (int k = 0; k < 1000; ++k) {
    const std::string number = k == 0 ? "" : std::to_string(k + 1);
    if (open(path.string() + ".tmp" + number)) return;
  }
  throw IoError(path.string() + ": cannot be written: all temporary names beside it are taken");
}

bool OutputFile::open(const std::filesystem::path& temporary) {
  constexpr int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
  int descriptor = ::open(temporary.c_str(), flags | O_CREAT | O_EXCL, 0666);
  const bool is_new = descriptor >= 0;
  if (!is_new && errno != EEXIST) fail("cannot be written", errno);
  if (!is_new) descriptor = ::open(temporary.c_str(), flags | O_NONBLOCK);
  if (descriptor < 0) return false;
  // A file with this name is what a killed process has left, or what somebody is writing and holds
  // a lock on, or nothing that we may write to. Between opening and locking it may have been
  // renamed: then it is in place and must not be touched.
  struct stat opened{}, named{};
  const bool is_ours = (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) &&
                       ::fstat(descriptor, &opened) == 0 &&
                       ::lstat(temporary.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
                       opened.st_dev == named.st_dev && S_ISREG(opened.st_mode) &&
                       opened.st_nlink == 1 && (is_new || opened.st_uid == ::geteuid());
  if (!is_ours) {
    ::close(descriptor);
    return false;
  }
  if (::ftruncate(descriptor, 0) != 0) {
    const int error = errno;
    ::close(descriptor);
    fail("cannot be written", error);
  }
  descriptor_ = descriptor;
  temporary_ = temporary;
  return true;
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void OutputFile::fail(const std::string& what, int error) const {
  throw IoError(path_.string() + ": " + what + ": " + text_of(error));
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), std::min(bytes.size(), most_at_once));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("cannot be written from byte " + std::to_string(written_), errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    written_ += static_cast<std::uint64_t>(put);
  }
}

void OutputFile::overwrite(std::uint64_t offset, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::pwrite(descriptor_, text.data(), text.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("cannot be written from byte " + std::to_string(offset), errno);
    text.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void OutputFile::commit() {
  if (::fsync(descriptor_) != 0) fail("cannot be brought to the disk", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be put in place", errno);
  // The lock ends here, after the name: nobody opens the temporary name and finds this file.
  ::close(descriptor_);
  descriptor_ = -1;
  // The directory has the new name only in memory so far. Some file systems have no such call for
  // directories; the rename is in order all the same.
  const std::filesystem::path parent = path_.has_parent_path() ? path_.parent_path() : ".";
  const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

}  // namespace kroton::files
