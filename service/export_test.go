package service

// Fill takes every place of the admission and returns what gives them back.
// Calls meanwhile find no room and no place to wait.
func (s *Service) Fill() (empty func()) {
	full := newPool(0, 0, 0)
	was := s.pool
	s.pool = full
	return func() { s.pool = was }
}

// Hold takes the only place of the admission and returns what gives it back.
// Calls meanwhile wait, for a second at most.
func (s *Service) Hold() (leave func()) {
	s.pool = newPool(1, 10, maxQueueing)
	s.pool.try()
	return s.pool.leave
}
