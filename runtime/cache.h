// The on-disk cache of compiled code: opaque bytes by a digest of everything they depend on.
//
// Several processes may use one directory at the same time, without locks: an entry is written to
// a temporary file and renamed, so a reader sees a whole entry or none. What a crash or a failing
// disk leaves behind is found by the checksum in the entry's header and dropped.
//
// What is loaded runs in this process. Nothing is used that somebody else may have written: the
// directory and the entries must belong to the user and be writable by nobody else, and entries are
// regular files in that very directory. See docs/decisions/0013-cache.md.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/sha256.h"

namespace kroton {

class Cache {
 public:
  // No cache: loads nothing, stores nothing.
  Cache() = default;
  // Entries in `directory`, which is made if it is missing, of at most `limit` bytes in all.
  // IoError if it cannot be made, read and written, or is not to be trusted.
  Cache(const std::string& directory, std::int64_t limit);

  // What the environment asks for. KROTON_CACHE: "off" or "0", or a directory (IoError if it
  // cannot be used). Not set or empty: kroton in $XDG_CACHE_HOME, or in ~/.cache; no cache if that cannot be
  // used. A directory that is not to be trusted is no cache either; stderr says so, once.
  // KROTON_CACHE_MB: the limit in MiB, 256 if not set (ValueError if it is not a whole number from
  // 1 on).
  static Cache from_environment();

  bool enabled() const { return !directory_.empty(); }
  const std::string& directory() const { return directory_; }

  // The entry's bytes, if there is one and it is whole; it then counts as used now. An entry that
  // is damaged, of another format, larger than the limit or not to be trusted is removed.
  std::optional<std::string> load(const Digest& key) const;
  // Keeps the bytes, and removes the entries not used for the longest time until what is there is
  // within the limit, and temporary files that a process left behind an hour ago or more. In a
  // directory of many entries that is seen to now and then. Bytes beyond the limit, or that cannot
  // be written, are not kept. True if they are kept.
  bool store(const Digest& key, std::string_view bytes) const;

 private:
  struct OpenDirectory;

  void evict() const;

  std::string directory_;
  std::shared_ptr<const OpenDirectory> open_;  // the very directory that was found to be safe
  std::int64_t limit_ = 0;
};

}  // namespace kroton
