"""The training guide as programs: a tour of the API, and checks of its promises."""
