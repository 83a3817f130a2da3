// Copies to shared memory that nobody waits for, and products by matrix units, as CUDA C++.
#include <algorithm>

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

// A copy of so many bytes needs nothing of its addresses but what its elements do.
constexpr std::int64_t always_aligned = 4;

std::int64_t bytes_of(const loop::Copy& copy) {
  return copy.count * static_cast<std::int64_t>(size_of(copy.to->dtype));
}

}  // namespace

// A thread loop with copies: twice, for pieces that are aligned and for single elements.
void KernelPrinter::print_copies(const loop::For& loop) {
  std::vector<std::string> tests;
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    const auto* copy = std::get_if<loop::Copy>(&s);
    if (copy == nullptr || bytes_of(*copy) == always_aligned) return;
    const auto require = [&](const std::string& test) {
      if (std::find(tests.begin(), tests.end(), test) == tests.end()) tests.push_back(test);
    };
    require("KROTON_ADDRESS(" + name_of(copy->from) + ", 0) % " + std::to_string(bytes_of(*copy)) +
            " == 0");
    const loop::Expr& aligned = copy->aligned;
    if (aligned->op != loop::Op::integer) require(text(aligned, Place::index, conjunction + 1));
  });
  const auto print = [&](bool pieces) {
    copies_pieces_ = pieces;
    in_thread_loop_ = true;
    print_thread_loop(loop, [&] { print_block(loop.body); });
    in_thread_loop_ = false;
  };
  if (tests.empty()) {
    print(true);
  } else {
    std::string all;
    for (const std::string& test : tests) all += (all.empty() ? "" : " && ") + test;
    open("if (" + all + ") {");
    print(true);
    --indent_;
    open("} else {");
    print(false);
    close();
  }
  line("KROTON_COPIES_END();");
}

void KernelPrinter::print_copy(const loop::Copy& s) {
  const std::string to = text(s.to_index, Place::index, sum);
  const std::string from = text(s.from_index, Place::index, sum);
  const std::string available = text(s.available, Place::index, comparison + 1);
  const std::string count = std::to_string(s.count);
  if (copies_pieces_) {
    line("KROTON_COPY(" + count + ", " + name_of(s.to) + ", " + to + ", " + name_of(s.from) + ", " +
         from + ", " + available + ");");
    return;
  }
  const std::string e = distinct("e");
  line("#pragma unroll");
  open("for (kt_index " + e + " = 0; " + e + " < " + count + "; ++" + e + ") {");
  line(name_of(s.to) + "[" + to + " + " + e + "] = " + e + " < " + available + " ? " +
       name_of(s.from) + "[" + from + " + " + e +
       "] : " + node_text(loop::whole_number(0, s.to->dtype), Place::value, any) + ";");
  close();
}

void KernelPrinter::print_multiply(const loop::Multiply& s) {
  const loop::MatrixTile& tile = s.tile;
  std::string parameters = "KtUnits_" + std::string(kroton::name_of(s.a->dtype));
  for (const int size : {tile.rows, tile.columns, tile.depth, tile.warp_rows, tile.warp_columns}) {
    parameters += ", " + std::to_string(size);
  }
  for (const bool runs_inner : {tile.a_runs_inner, tile.b_runs_inner}) {
    parameters += runs_inner ? ", true" : ", false";
  }
  line("kt_multiply<" + parameters + ">(" + name_of(s.sums) + ", " + name_of(s.a) + ", " +
       text(s.a_start, Place::index) + ", " + name_of(s.b) + ", " + text(s.b_start, Place::index) +
       ");");
}

void KernelPrinter::print_barrier(const loop::Barrier& s) {
  if (has_copies_) line("KROTON_WAIT_COPIES(" + std::to_string(s.under_way) + ");");
  if (s.of_grid) {
    line("KROTON_MEET(" + arrivals_ + ");");
    return;
  }
  line(rows_of_block_ > 1 ? "__syncwarp();" : "__syncthreads();");
}

}  // namespace kroton::codegen
