#include "compiler/lower/gpu_contraction.h"

#include <algorithm>

#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/gpu_windows.h"
#include "compiler/contraction/library_product.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {
namespace {

using GpuKernels = std::vector<loop::Kernel>;

GpuKernels with_form(GpuKernels kernels, const std::string& form) {
  for (loop::Kernel& kernel : kernels) kernel.form = form;
  return kernels;
}

class GpuContractionMaker {
 public:
  GpuContractionMaker(const Contraction& c, GpuWindows windows, const Machine& machine,
                      BufferTable& buffers)
      : c_(c), machine_(machine), buffers_(buffers), library_(library_product(c)) {
    // Matrix units multiply so much faster that the order of windows is no matter.
    const bool by_units = plan_gpu_tiles(c, machine).front().units.has_value();
    if (windows == GpuWindows::none || by_units) return;
    windows_ = plan_gpu_windows(c, windows == GpuWindows::of_picture);
  }

  // As the model chooses.
  GpuKernels planned() { return windows_ ? planned_windows(*windows_) : planned_products(); }

  // How that is called in messages.
  const std::string& planned_form() const { return planned_form_; }

  // All other ways.
  std::vector<GpuKernels> others() {
    std::vector<GpuKernels> all;
    const auto add = [&](GpuKernels kernels, const std::string& form) {
      if (form != planned_form_) all.push_back(with_form(std::move(kernels), form));
    };
    if (library_) {
      GpuKernels kernels{
          build_gpu_tiles(c_, plan_gpu_tiles(c_, machine_, true).front(), buffers_.maker())};
      kernels.back().instead = library_;
      add(std::move(kernels), library_form);
    } else if (auto kernels = library_and_rest()) {
      add(*std::move(kernels), "the library's product, then the rest");
    }
    if (windows_) {
      add({build_gpu_windows(c_, *windows_, buffers_.maker())}, form_of(*windows_));
      if (const auto parts = plan_gpu_window_parts(c_, *windows_, true)) {
        add(in_parts(build_gpu_window_parts(c_, *parts, buffers_.maker())),
            form_of(*windows_) + in_parts_form);
      }
    }
    for (const GpuTilePlan& plan : plan_gpu_tiles(c_, machine_, true)) {
      add({build_gpu_tiles(c_, plan, buffers_.maker())}, plan.to_string());
      if (const auto parts = plan_gpu_parts(c_, plan, true)) {
        add(in_parts(build_gpu_parts(c_, *parts, buffers_.maker())),
            plan.to_string() + in_parts_form);
      }
    }
    return all;
  }

 private:
  static constexpr const char* in_parts_form = ", in parts";
  static constexpr const char* by_sizes_form = "by the sizes";
  static constexpr const char* library_form = "the library's product";

  static std::string form_of(const GpuWindowPlan& plan) {
    return "convolution in " + plan.to_string();
  }

  GpuKernels in_parts(GpuPartsKernels built) {
    return {std::move(built.partial), schedule(built.combine, machine_, &buffers_)};
  }
  // Which run where the flag is 1.
  GpuKernels in_parts(GpuPartsKernels built, const Dim& flag) {
    built.combine.body = only_if(flag, std::move(built.combine.body));
    return in_parts(std::move(built));
  }

  // One kernel, or two, or three.
  GpuKernels planned_windows(GpuWindowPlan plan) {
    GpuKernels kernels;
    if (const std::optional<GpuWindowPlan> parts = plan_gpu_window_parts(c_, plan)) {
      kernels =
          in_parts(build_gpu_window_parts(c_, *parts, buffers_.maker()), parts->tile.are_wanted);
      if (parts->tile.are_wanted.is_constant(1)) planned_form_ = form_of(plan) + in_parts_form;
      plan.tile.are_wanted = 1 - parts->tile.are_wanted;
    }
    if (!plan.tile.are_wanted.is_constant(0)) {
      kernels.push_back(build_gpu_windows(c_, plan, buffers_.maker()));
      if (kernels.size() == 1) planned_form_ = form_of(plan);
    }
    return with_form(std::move(kernels), form_of(plan));
  }

  // One kernel that a library may replace; else, where that is better, two that share out the inner
  // elements, or three if the sizes decide.
  GpuKernels planned_products() {
    std::vector<GpuTilePlan> plans = plan_gpu_tiles(c_, machine_);
    // In place of the library's product they are for what it refuses.
    if (library_) {
      plans.resize(1);
      plans[0].are_wanted = 1;
    }
    GpuTilePlan& plan = plans.front();
    const std::optional<GpuTilePlan> parts = library_ ? std::nullopt : plan_gpu_parts(c_, plan);
    GpuKernels kernels;
    if (parts) {
      kernels = in_parts(build_gpu_parts(c_, *parts, buffers_.maker()), parts->are_wanted);
      plan.are_wanted = plan.are_wanted - parts->are_wanted;
      if (parts->are_wanted.is_constant(1)) planned_form_ = plan.to_string() + in_parts_form;
    }
    for (const GpuTilePlan& one : plans) {
      if (one.are_wanted.is_constant(0)) continue;
      kernels.push_back(build_gpu_tiles(c_, one, buffers_.maker()));
      kernels.back().instead = library_;
      if (kernels.size() == 1) planned_form_ = library_ ? library_form : one.to_string();
      if (kernels.size() == 2 && !parts) planned_form_ = by_sizes_form;
    }
    return kernels;
  }

  // The product into memory, which the library may compute, and what is done to it afterwards.
  // Nothing if the library computes no such product.
  std::optional<GpuKernels> library_and_rest() {
    loop::Expr at = loop::integer(0);
    for (const AxisList* axes : {&c_.batch, &c_.rows, &c_.columns}) {
      for (const Axis& axis : *axes) {
        at = at * loop::size(axis.extent) + loop::variable(axis.variable);
      }
    }
    const Dim results = count(c_.batch) * count(c_.rows) * count(c_.columns);
    Contraction bare = c_;
    bare.cost = 0;
    bare.stores.clear();
    const loop::BufferRef product = buffers_.create("product", c_.dtype, results);
    bare.stores.push_back({product, at, loop::variable(c_.sum)});
    const std::shared_ptr<const LibraryProduct> library = library_product(bare);
    if (!library) return std::nullopt;
    GpuKernels kernels{
        build_gpu_tiles(bare, plan_gpu_tiles(bare, machine_, true).front(), buffers_.maker())};
    kernels.back().instead = library;
    loop::Block body = loop::substitute(loop::Block(c_.stores.begin(), c_.stores.end()),
                                        Places{{c_.sum, loop::load(product, at)}});
    for (const AxisList* axes : {&c_.columns, &c_.rows, &c_.batch}) {
      for (auto axis = axes->rbegin(); axis != axes->rend(); ++axis) {
        loop::For loop;
        loop.variable = axis->variable;
        loop.extent = loop::size(axis->extent);
        loop.body = std::move(body);
        loop.is_independent = true;
        body = {loop::statement(std::move(loop))};
      }
    }
    loop::Kernel rest;
    rest.body = loop::simplify_indices(body);
    rest.work = loop::size(results * Dim(c_.cost + 1));
    kernels.push_back(schedule(rest, machine_, &buffers_));
    return kernels;
  }

  const Contraction& c_;
  const Machine& machine_;
  BufferTable& buffers_;
  const std::shared_ptr<const LibraryProduct> library_;
  std::optional<GpuWindowPlan> windows_;
  std::string planned_form_ = by_sizes_form;
};

}  // namespace

std::vector<loop::Kernel> gpu_contraction(const Contraction& contraction, GpuWindows windows,
                                          const Machine& machine, BufferTable& buffers,
                                          std::vector<int>* candidates) {
  GpuContractionMaker maker(contraction, windows, machine, buffers);
  GpuKernels kernels = maker.planned();
  if (!candidates) return kernels;
  candidates->clear();
  kernels = with_form(std::move(kernels), maker.planned_form());
  std::vector<int> ways(kernels.size(), 0);
  int way = 0;
  for (GpuKernels& other : maker.others()) {
    ++way;
    for (loop::Kernel& kernel : other) {
      kernels.push_back(std::move(kernel));
      ways.push_back(way);
    }
  }
  if (way > 0) *candidates = std::move(ways);
  return kernels;
}

}  // namespace kroton
