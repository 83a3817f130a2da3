// Functions written ahead of time, linked into this process or into programs of their own.
#pragma once
#include <kroton/kroton.h>

#include <string>
#include <vector>

#include "tests/tools/places.h"
#include "tests/tools/temporary_directory.h"

namespace aot_tools {

namespace kt = kroton;

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);

struct Outcome {
  int status = 0;
  std::string output;  // of both streams
};
Outcome run(const std::string& command);
// The same for a command that must succeed: its output.
std::string run_well(const std::string& command);

// The functions of one object file, by a shared library made of it.
class Linked {
 public:
  // `object` as aot::write gives it; the library lies beside it.
  explicit Linked(const std::string& object);
  ~Linked();
  Linked(const Linked&) = delete;
  Linked& operator=(const Linked&) = delete;

  // Linked::function<int(std::int64_t, const float*)>("f")
  template <class F>
  F* function(const std::string& name) const {
    return reinterpret_cast<F*>(symbol(name));
  }
  template <class T>
  const T* data(const std::string& name) const {
    return static_cast<const T*>(symbol(name));
  }
  bool has(const std::string& name) const;

 private:
  void* symbol(const std::string& name) const;
  void* library_;
};

// Memory aligned as arenas and states are.
class Block {
 public:
  explicit Block(std::size_t bytes);
  void* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::vector<std::byte> memory_;
  void* data_;
  std::size_t size_;
};

}  // namespace aot_tools
