package dev.equipoise.runtime.template.jinja;

import java.util.Map;

/** The one mutable object of a template, whose attributes survive the scope that sets them. */
record Namespace(Map<String, Object> attributes) {}
